"""The queue: one photo at a time, in order, and nothing is kept for ever."""

import threading
import time
import weakref

import pytest

from tests.served import until
from utils.web import jobs as module
from utils.web.jobs import Jobs, Stage
from utils.web.problems import Problem
from utils.web.settings import Settings
from utils.web.upload import Upload


class Work:
    """Notes the photos; goes on once ``gate`` is open."""

    def __init__(self) -> None:
        self.gate, self.began, self.names = threading.Event(), threading.Event(), []

    def __call__(self, job) -> dict:
        job.reach(Stage.READING)
        self.names.append(job.upload.name)
        self.began.set()
        assert self.gate.wait(20)
        job.reach(Stage.RANKING)
        return {"name": self.names[-1]}


@pytest.fixture
def work():
    return Work()


@pytest.fixture
def jobs(work):
    queue = Jobs(work, 8)
    yield queue
    work.gate.set()
    queue.close()
    queue.thread.join()


def add(jobs, name="a", attended=False):
    with jobs.place() as put:
        return put(Upload(name, b"data", Settings()), attended)


def test_they_are_located_in_order(jobs, work):
    added = [add(jobs, name) for name in "abc"]
    work.began.wait(10)
    assert [jobs.before(job) for job in added] == [0, 1, 2]
    assert [job.stage for job in added] == ["reading", "waiting", "waiting"]
    work.gate.set()
    assert [job.outcome.result(10) for job in added] == [{"name": name} for name in "abc"]
    assert [job.upload for job in added] == [None] * 3  # whose bytes are no longer needed
    assert work.names == ["a", "b", "c"]


def test_one_that_failed_keeps_nothing_of_its_photo():
    class Photo:
        """What can be watched."""

    photos = []

    def work(job):
        photo = Photo()
        photos.append(weakref.ref(photo))
        try:
            raise ValueError("unlike a photo")
        except ValueError as error:
            raise Problem(422, str(error)) from None

    queue = Jobs(work, 8)
    job = add(queue)
    problem = job.outcome.exception(10)
    assert (problem.status, problem.text, queue.get(job.id)) == (422, "unlike a photo", job)
    queue.close()
    queue.thread.join()
    assert photos[0]() is None


def test_one_that_waits_is_dropped_at_once_and_one_that_runs_at_its_next_stage(jobs, work):
    running, waiting = add(jobs, "running"), add(jobs, "waiting")
    work.began.wait(10)
    for job in (running, waiting):
        jobs.drop(job)
        with pytest.raises(Problem, match="no such photo"):
            jobs.get(job.id)
    after = add(jobs, "after")
    work.gate.set()
    assert after.outcome.result(10) == {"name": "after"}
    assert (running.stage, work.names) == ("failed", ["running", "after"])


def test_what_nobody_asks_about_is_dropped(jobs, work, monkeypatch):
    add(jobs, "running", attended=True)
    work.began.wait(10)
    closed, open_, waited = add(jobs, "closed"), add(jobs, "open"), add(jobs, "waited", attended=True)
    now = time.monotonic()
    monkeypatch.setattr(module.time, "monotonic", lambda: now + module.UNASKED_SECONDS - 1)
    jobs.get(open_.id)
    monkeypatch.setattr(module.time, "monotonic", lambda: now + module.UNASKED_SECONDS + 1)
    work.gate.set()
    assert open_.outcome.result(10) == {"name": "open"}
    assert waited.outcome.result(10) == {"name": "waited"}
    assert (closed.outcome.exception(10).status, work.names) == (404, ["running", "open", "waited"])


def test_results_are_kept_for_a_while(jobs, work, monkeypatch):
    work.gate.set()
    job = add(jobs)
    job.outcome.result(10)
    now = time.monotonic()
    monkeypatch.setattr(module.time, "monotonic", lambda: now + module.KEPT_SECONDS - 1)
    assert jobs.get(job.id) is job
    monkeypatch.setattr(module.time, "monotonic", lambda: now + module.KEPT_SECONDS + 1)
    with pytest.raises(Problem, match="no longer kept"):
        jobs.get(job.id)


def test_so_many_results_are_kept(jobs, work, monkeypatch):
    monkeypatch.setattr(module, "KEPT", 3)
    work.gate.set()
    added = [add(jobs, str(number)) for number in range(5)]
    added[-1].outcome.result(10)
    jobs.get(added[-1].id)
    assert list(jobs.known) == [job.id for job in added[-3:]]


def test_old_results_go_without_anybody_asking(work, monkeypatch):
    monkeypatch.setattr(module, "SWEEP_SECONDS", 0.01)
    monkeypatch.setattr(module, "KEPT_SECONDS", 0)
    work.gate.set()
    jobs = Jobs(work, 8)
    add(jobs).outcome.result(10)
    until(lambda: not jobs.known)
    jobs.close()


def test_in_the_end_everybody_is_told(jobs, work):
    running, waiting = add(jobs), add(jobs)
    work.began.wait(10)
    jobs.close()
    assert [job.outcome.exception(10).status for job in (running, waiting)] == [503, 503]
    with pytest.raises(Problem, match="stopping"):
        add(jobs)
    work.gate.set()
    jobs.thread.join(10)
    assert not jobs.thread.is_alive()
    assert len(work.names) == 1


def test_a_defect_costs_one_photo(jobs, work, monkeypatch, caplog):
    def broken(job):
        raise ZeroDivisionError("secret")

    work.gate.set()
    monkeypatch.setattr(jobs, "work", broken)
    problem = add(jobs).outcome.exception(10)
    assert (problem.status, problem.text) == (500, "an error of the app, which its log has")
    monkeypatch.setattr(jobs, "work", work)
    assert add(jobs).outcome.result(10) == {"name": "a"}
    assert "ZeroDivisionError" in caplog.text


def test_ids_cannot_be_guessed(jobs):
    ids = {add(jobs).id for _ in range(8)}
    assert len(ids) == 8
    assert min(map(len, ids)) >= 20
