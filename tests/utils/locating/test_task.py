import numpy as np
import pytest
from PIL import Image

from utils.candidates import Candidate
from utils.locating.photo import Photo
from utils.locating.sources import Found, ListedPlaces
from utils.locating.task import Task, Unanswered, benchmark_task, counts, readable_options, task_of
from utils.photos.images import ImageError
from utils.tables.candidate_table import CandidateRow, write_candidate_table

PHOTO = Photo(Image.new("RGB", (8, 8)), "trip/q.jpg", "q.jpg")


class Gallery:
    """Has the places ``points``, near ones merged."""

    def __init__(self, words: str, points: list[float], take: int, source: str = "retrieval", merge_km: float = 0.0):
        self.words, self.take, self.merge_km = words, take, merge_km
        self.candidates = [Candidate(point, 0.0, image=f"{point}.jpg", source=source) for point in points]

    def open(self, image_id):
        return Image.new("RGB", (8, 8)) if image_id == "1.0.jpg" else open(image_id)


def test_the_best_of_every_source_are_taken_in_turn():
    gallery = Gallery("similar photos", [1.0, 2.0, 3.0], 2)
    points = Gallery("points", [2.01, 50.0, 50.01, 60.0], 2, "geoclip", merge_km=10)
    guesses = Gallery("guesses", [70.0], 3, "generation", merge_km=10)
    found = [
        Found(gallery.candidates, negatives=(Candidate(9.0, 9.0),), problems=("a problem",)),
        Found(points.candidates),
        Found(guesses.candidates, notes=("a note",)),
    ]
    task = task_of(PHOTO, [gallery, points, guesses], found)
    assert [option.candidate.latitude for option in task.options] == [1.0, 2.0, 50.0, 60.0, 70.0]
    assert [option.rank for option in task.options[:4]] == [0.0, 1.0, 0.0, 1.0]
    assert np.isnan(task.options[4].rank)
    assert [option.open.__self__ for option in task.options] == [gallery, gallery, points, points, guesses]
    assert task.used == ("2 similar photos", "2 points", "1 guesses")
    assert task.negatives == (Candidate(9.0, 9.0),)
    assert task.notes == ("a note",)
    assert (task.problems, counts(task.options)) == (["a problem"], (4, 1))


def test_places_of_a_list_are_equals(make_image, tmp_path):
    make_image(24, 16).save(tmp_path / "c.jpg")
    places = [Candidate(1.0, 2.0, image=str(tmp_path / "c.jpg"), source="csv"), Candidate(3.0, 4.0, source="csv")]
    listed = ListedPlaces(places, ["a row left out"], "places.csv")
    task = task_of(PHOTO, [listed], listed.find([PHOTO]))
    assert [option.rank for option in task.options] == [0.0, 0.0]
    assert (task.used, task.problems) == (("2 places of places.csv",), ["a row left out"])
    _, photos = readable_options(task)
    assert [photo and photo.size for photo in photos] == [(24, 16), None]


@pytest.mark.parametrize("unanswered", [True, False])
def test_nothing_to_rank_may_pass_where_nobody_answered(unanswered):
    """A server that is down is no fault of the photo; a list without places is one of the list."""
    guesses = Gallery("guesses", [], 3, "generation")
    task = task_of(PHOTO, [guesses], [Found([], problems=("no guesses",), unanswered=unanswered)])
    with pytest.raises(ImageError, match="no place to rank\nno guesses") as error:
        readable_options(task)
    assert isinstance(error.value, Unanswered) is unanswered


@pytest.fixture
def folder(tmp_path, make_image):
    """photos/q.jpg, gallery/ with a.jpg and b.jpg, and broken.jpg, which is no photo."""
    for name in ("photos/q.jpg", "gallery/a.jpg", "gallery/b.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        make_image(24, 16).save(tmp_path / name)
    (tmp_path / "gallery" / "broken.jpg").write_bytes(b"no photo")
    return tmp_path


def test_a_query_of_a_benchmark(folder):
    points, images = [(1.0, 2.0), (1.001, 2.0), (3.0, 4.0)], ["a.jpg", "b.jpg", "b.jpg"]
    rows = [
        CandidateRow("q.jpg", 5.0, 6.0, points, images=images, zs_gps=[(7.0, 8.0), (9.0, 10.0)]),
        CandidateRow("other.jpg", 5.0, 6.0, [(1.0, 2.0)], zs_gps=[(99.0, 0.0)]),
        CandidateRow("empty.jpg", 5.0, 6.0, [(99.0, 2.0)]),
    ]
    write_candidate_table(folder / "candidates.csv", rows)
    flags = {
        "candidates": str(folder / "candidates.csv"),
        "image_path": str(folder / "photos"),
        "image_data_path": str(folder / "gallery"),
        "tar_index_path": None,
    }
    task = benchmark_task("q.jpg", **flags, topn=2, topn_zs=1, merge_km=0.3)
    places = [(option.candidate.latitude, option.candidate.image) for option in task.options]
    assert places == [(1.0, "a.jpg"), (3.0, "b.jpg"), (7.0, None)]
    assert (task.truth, counts(task.options)) == ((5.0, 6.0), (2, 1))
    assert task.used == (f"2 retrieved and 1 generated places of {folder / 'candidates.csv'}",)
    assert (task.photo.image.size, task.photo.path) == ((24, 16), "q.jpg")
    assert task.options[0].open("a.jpg").size == (24, 16)
    assert [option.rank for option in task.options[:2]] == [0.0, 1.0]
    assert np.isnan(task.options[2].rank)
    assert task.problems == []  # problems of other queries are not this one's

    with pytest.raises(ValueError, match=r"^away\.jpg is no usable query of .*candidates\.csv$"):
        benchmark_task("away.jpg", **flags, topn=2, topn_zs=1)
    with pytest.raises(ValueError, match=r"(?s)empty\.jpg is no usable query of .*\n.*latitude 99.*row skipped$"):
        benchmark_task("empty.jpg", **flags, topn=2, topn_zs=1)
    with pytest.raises(ImageError, match=r"other\.jpg: not in "):
        benchmark_task("other.jpg", **flags, topn=2, topn_zs=1)


def test_a_candidate_whose_photo_cannot_be_read_is_left_out_and_named(folder):
    points, images = [(1.0, 2.0), (5.0, 6.0), (3.0, 4.0)], ["a.jpg", "broken.jpg", "b.jpg"]
    write_candidate_table(folder / "candidates.csv", [CandidateRow("q.jpg", 5.0, 6.0, points, images=images)])
    flags = {"candidates": str(folder / "candidates.csv"), "image_path": str(folder / "photos"), "tar_index_path": None}
    task = benchmark_task("q.jpg", **flags, image_data_path=str(folder / "gallery"), topn=3, topn_zs=0)
    options, photos = readable_options(task)
    assert [option.candidate.image for option in options] == ["a.jpg", "b.jpg"]
    assert [photo.size for photo in photos] == [(24, 16), (24, 16)]
    (problem,) = task.problems
    assert problem.startswith("broken.jpg in ")
    assert problem.endswith("; place left out")


def test_where_no_place_is_left_it_is_said_why():
    task = Task(PHOTO, (), notes=("3 of 3 guesses name no usable place and are left out",), problems=["a problem"])
    with pytest.raises(ImageError, match=r"^no place to rank\n3 of 3 guesses name .*\na problem$"):
        readable_options(task)
