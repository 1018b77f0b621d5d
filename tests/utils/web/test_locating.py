"""What the worker makes of a photo."""

import gc
import re
import weakref

import pytest

from tests.served import StubFinder, png
from utils.candidates import Candidate
from utils.locating.choices import Choices
from utils.locating.judging import PhotoDoesNotFit
from utils.locating.sources import ListedPlaces
from utils.web.finder import Finder
from utils.web.jobs import Dropped, Job
from utils.web.locating import Worker, keep, photo_name
from utils.web.problems import Problem
from utils.web.settings import Settings
from utils.web.upload import Upload

MOST = 10_000  # pixels


def job(data=None, name="beach.png") -> Job:
    return Job(Upload(name, data or png(), Settings()))


def test_the_entry_of_a_photo_for_a_page():
    found = Worker(StubFinder(), MOST)(job())
    assert found["entry"]["name"] == "beach.png"
    assert found["entry"]["verdict"]["title"] == "Lisbon, Portugal"
    assert found["entry"]["photo"]["uri"].startswith("data:image/jpeg;base64,")
    assert (found["entry"]["photo"]["width"], found["entry"]["photo"]["height"]) == (16, 12)
    assert found["entry"]["problems"] == ["gone.jpg: missing"]
    assert '"Lisbon, Portugal"' in found["files"]["geojson"]
    assert "<name>beach.png</name>" in found["files"]["kml"]


def test_logs_and_guesses_know_its_content_alone():
    upload = job().upload
    assert re.fullmatch(r"photo in memory [0-9a-f]{8}", photo_name(upload))
    assert photo_name(upload) == photo_name(job(name="other.png").upload) != photo_name(job(png(9, 9)).upload)


@pytest.mark.parametrize("stage", ["reading", "candidates", "ranking"])
def test_it_stops_where_nobody_waits(stage):
    finder, dropped = StubFinder(), job()
    if stage == "reading":
        dropped.end(Problem(404, "dropped"))
        dropped.upload = job().upload
    else:
        within = {"candidates": "locator", "ranking": "find"}[stage]
        step = getattr(finder, within)

        def last(*arguments):
            dropped.end(Problem(404, "dropped"))
            return step(*arguments)

        setattr(finder, within, last)
    with pytest.raises(Dropped):
        Worker(finder, MOST)(dropped)


def test_what_nobody_at_the_page_can_use_is_not_said():
    """Flags and commands are for whoever started the app."""
    finder = StubFinder()
    finder.answers = lambda tasks: [PhotoDoesNotFit("a.jpg: does not fit into memory: --quantize 8bit would do")]
    with pytest.raises(Problem, match=r"^the photo does not fit into memory$") as problem:
        Worker(finder, MOST)(job())
    assert problem.value.status == 507

    places = ListedPlaces([Candidate(46.2, 7.1, source="csv")])
    demanding = Job(Upload("beach.png", png(), Settings(min_confidence=0.5)))
    with pytest.raises(Problem, match=r"^no confidence can be asked for: a vote of the candidates ") as problem:
        Worker(Finder.chosen(Choices(places=places), "cpu"), MOST)(demanding)
    assert problem.value.status == 422
    assert problem.value.text.endswith("; leave `No answer if less sure than` (min_confidence) empty for it")
    assert not problem.value.may_pass
    assert "--" not in problem.value.text


@pytest.mark.parametrize("step", ["find", "answers"])
def test_no_photo_outlives_its_error(step):
    finder, photos = StubFinder(), []
    locator = finder.locator

    def watched(photo, settings):
        photos.append(weakref.ref(photo))
        return locator(photo, settings)

    finder.locator = watched
    setattr(finder, step, lambda _: [ValueError("no candidate is left")])
    gc.collect()
    gc.disable()  # so that nothing goes but what nobody refers to
    try:
        with pytest.raises(Problem, match="no candidate is left"):
            Worker(finder, MOST)(job())
        assert photos[0]() is None
    finally:
        gc.enable()


def test_a_disk_that_cannot_be_written_costs_nobody_the_answer(tmp_path, caplog):
    (tmp_path / "file").touch()
    found = Worker(StubFinder(), MOST, tmp_path / "file")(job())
    assert found["entry"]["verdict"]["title"] == "Lisbon, Portugal"
    assert "a photo could not be kept: " in caplog.text


def test_what_is_kept_has_no_name_that_somebody_chose(tmp_path):
    for name in ("../../x.sh", "a.JPG", "b.jpg.exe"):
        keep(tmp_path, Upload(name, b"data", Settings()), {"photo": name})
    names = sorted(path.name for path in tmp_path.iterdir())
    assert all(re.fullmatch(r"[\dT-]+-[0-9a-f]{8}(\.jpg|\.json)?", name) for name in names), names
    assert len(names) == 6
