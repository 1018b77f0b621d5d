import multiprocessing
import os
import time

import pytest

from tests.loopback import free_port
from utils.jobs import launch_store
from utils.jobs.processes import Processes
from utils.jobs.shared_counters import FileCounter


@pytest.fixture
def store(monkeypatch):
    """The store of a launch, served by this process."""
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(free_port()))
    launch_store._serve()
    yield
    for function in (launch_store._serve, launch_store._connect):
        function.cache_clear()


def test_values_of_any_length(store, monkeypatch):
    monkeypatch.setattr(launch_store, "PIECE", 1000)
    for value in (b"", os.urandom(1000), os.urandom(2500)):
        launch_store.put("value", value)
        assert launch_store.take("value") == value


def test_who_gives_no_sign_is_lost(store, monkeypatch):
    """Process 1 has come; 2 lives until 3 seconds are over, and comes then; 3 has never been there."""
    monkeypatch.setattr(launch_store, "BEAT", 0.05)
    monkeypatch.setattr(launch_store, "SILENCE", 0.5)
    launch_store.put("here/1", b"")
    begin, add = time.monotonic(), launch_store.add

    def sign(key: str, amount: int) -> int:
        if key != "alive/2":
            return add(key, amount)
        if time.monotonic() - begin > 1.5:
            launch_store.put("here/2", b"")
        return add(key, 1)

    monkeypatch.setattr(launch_store, "add", sign)
    assert launch_store.await_keys({rank: f"here/{rank}" for rank in (1, 2, 3)}) == {3}


def test_a_store_that_is_gone_is_said_in_one_line(store):
    launch_store.add("number", 1)
    launch_store._serve.cache_clear()  # nobody holds the server any longer
    with pytest.raises(ConnectionError, match=r"at 127\.0\.0\.1:\d+, is gone: start all again, what is done is kept$"):
        launch_store.add("number", 1)


def count(path, times):
    counter = FileCounter(path)
    for _ in range(times):
        counter.add(1)


def test_processes_that_never_meet_count_in_a_file(tmp_path):
    path = tmp_path / "shared" / "number"
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=count, args=(path, 500)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert FileCounter(path).add(-100) == 1400
    assert FileCounter(path).add(0) == 1400


def test_processes_that_never_meet_neither_conclude_nor_wait(tmp_path, monkeypatch):
    monkeypatch.setenv("GEORANKER_SHARED_WORK", str(tmp_path))
    processes = Processes.from_environment()
    assert processes.gather("value") is None
    assert not processes.alone
    assert not processes.concludes
    with pytest.raises(ValueError, match="cannot wait for each other: fill the cache"):
        processes.wait("photos")
    together = Processes(rank=0, count=3)
    monkeypatch.setattr(Processes, "gather", lambda self, value: [value, None, "theirs"])
    assert together.together(lambda processes: processes.count) == [1]
