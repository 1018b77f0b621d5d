import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy.special import softmax

from tests.released import saved_as_jpeg
from utils.answer import Demand
from utils.calibration import FEATURES, Calibration, Calibrations, Sources
from utils.candidates import Candidate, Query
from utils.geo_ranker import RankedCandidate
from utils.locating.ranking_task import (
    Task,
    benchmark_task,
    listed_task,
    rank_task,
    readable_candidates,
    write_ranking,
)
from utils.model.adapter_info import AdapterInfo
from utils.photos.images import ImageError
from utils.photos.store import ImageStore
from utils.tables.candidate_table import CandidateRow, write_candidate_table


@pytest.fixture
def folder(tmp_path, make_image):
    """photos/q.jpg, gallery/ with a.jpg and b.jpg, and broken.jpg, which is no photo."""
    for name in ("photos/q.jpg", "gallery/a.jpg", "gallery/b.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        make_image(24, 16).save(tmp_path / name)
    (tmp_path / "gallery" / "broken.jpg").write_bytes(b"no photo")
    return tmp_path


def task_of(folder, *candidates: Candidate, problems: tuple[str, ...] = ()) -> Task:
    gallery = ImageStore.from_paths([folder / "gallery"])
    return Task(Image.new("RGB", (8, 8)), Query("q.jpg", candidates, candidates[:1]), gallery, list(problems))


A, B = Candidate(1.0, 2.0, ("Town",), "a.jpg", similarity=0.5), Candidate(3.0, 4.0, ("Far",), "b.jpg", similarity=0.25)
BROKEN, GUESS = Candidate(5.0, 6.0, image="broken.jpg"), Candidate(7.0, 8.0, ("Guess",), source="generation")


def test_a_candidate_whose_photo_cannot_be_read_is_left_out_and_named(folder):
    task = task_of(folder, A, BROKEN, GUESS, B, problems=("as before",))
    candidates, photos = readable_candidates(task)
    assert candidates == (A, GUESS, B)
    assert {name: photo.size for name, photo in photos.items()} == {"a.jpg": (24, 16), "b.jpg": (24, 16)}
    before, problem = task.problems
    assert before == "as before"
    assert problem.startswith("broken.jpg in ")
    assert problem.endswith("; place left out")


def test_without_a_gallery_photos_are_paths(folder):
    paths = [replace(A, image=str(folder / "gallery" / "a.jpg")), replace(B, image=str(folder / "b.jpg"))]
    task = replace(task_of(folder, *paths), gallery=None)
    candidates, photos = readable_candidates(task)
    assert candidates == (paths[0],)
    assert list(photos) == [paths[0].image]
    assert len(task.problems) == 1


def test_nothing_left_to_rank_says_why(folder):
    with pytest.raises(ImageError, match=r"(?s)^no place to rank\nas before\nbroken\.jpg in .*; place left out$"):
        readable_candidates(task_of(folder, BROKEN, problems=("as before",)))


class Ranker:
    """Ranks the candidates that it is given by ``rewards`` (by latitude)."""

    def __init__(self, rewards: dict[float, float], info: AdapterInfo) -> None:
        self.rewards, self.info = rewards, info

    def rank(self, image, candidates, negatives, *, images):
        self.given = image, candidates, negatives, set(images)
        rewards = np.array([self.rewards[candidate.latitude] for candidate in candidates])
        shares = softmax(rewards / self.info.temperature)
        ranked = map(RankedCandidate, candidates, rewards.tolist(), shares.tolist())
        return sorted(ranked, key=lambda place: -place.reward)


def test_the_answer_is_decoded_as_the_adapter_says(folder, tmp_path):
    info = AdapterInfo("base", temperature=2.0, similarity_weight=10.0)
    ranker, task = Ranker({1.0: 0.0, 3.0: 1.0}, info), task_of(folder, A, BROKEN, B)
    outcome = rank_task(ranker, task, "argmax")
    assert ranker.given == (task.photo, (A, B), task.query.negatives, {"a.jpg", "b.jpg"})
    assert [place.candidate for place in outcome.ranking] == [B, A]
    assert outcome.points == [(3.0, 4.0), (1.0, 2.0)]
    assert outcome.names == ["Far", "Town"]
    assert (outcome.index, outcome.answer.latitude, outcome.answer.place) == (0, 3.0, "Far")
    assert (outcome.answer.confidence, outcome.answer.regions, outcome.answer.answered) == (None, None, True)
    # 0 + 10 * 0.5 is more than 1 + 10 * 0.25.
    fused = rank_task(ranker, task_of(folder, A, B), "fused")
    assert (fused.index, fused.answer.latitude) == (1, 1.0)

    write_ranking(tmp_path / "out" / "ranking.json", outcome, {"photo": "q.jpg"})
    written = json.loads((tmp_path / "out" / "ranking.json").read_text(encoding="utf-8"))
    records = written.pop("candidates")
    assert written == {
        "photo": "q.jpg",
        "prediction": {"latitude": 3.0, "longitude": 4.0, "place": "Far", "image": "b.jpg", "source": "retrieval"},
        "confidence": None,
        "regions": None,
        "answered": True,
        "demand": None,
    }
    assert records[0] == {
        "latitude": 3.0,
        "longitude": 4.0,
        "reward": 1.0,
        "share": pytest.approx(softmax([0.5, 0.0])[0]),
        "place": "Far",
        "image": "b.jpg",
        "source": "retrieval",
    }
    assert [record["place"] for record in records] == ["Far", "Town"]


def test_the_photo_is_re_encoded_as_the_candidates_are(folder, make_image):
    ranker = Ranker({1.0: 0.0}, AdapterInfo("base", candidate_jpeg_quality=75))
    task = replace(task_of(folder, A), photo=make_image(16, 16))
    rank_task(ranker, task, "argmax")
    assert ranker.given[0].tobytes() == saved_as_jpeg(task.photo).tobytes() != task.photo.tobytes()


@pytest.mark.parametrize("demand", [None, Demand(0.1, 25)])
def test_nothing_is_stated_of_a_photo_unlike_what_the_adapter_was_calibrated_on(folder, caplog, demand):
    sources = Sources(2, 0, 0.0, "gallery")
    nothing = (0.0,) * (1 + FEATURES)
    fitted = Calibration((nothing,) * 5, nothing, (10.0, 20.0, 30.0, 40.0), 100)
    known = Calibrations(sources, {"argmax": fitted}, ((2, 0),))
    ranker = Ranker({1.0: 0.0, 3.0: 1.0}, AdapterInfo("base", calibration=known, domain="tiles"))
    task = replace(task_of(folder, A, B), sources=sources, name="q.jpg")

    ranker.knows = lambda photo: photo is task.photo
    alike = rank_task(ranker, task, "argmax", demand)
    assert alike.answer.confidence[25] == 0.5
    assert alike.answer.answered is True
    assert caplog.messages == []
    assert alike.why_unknown == ""

    ranker.info = replace(ranker.info, calibration=replace(known, counts=((2, 1), (4, 0))))
    fewer = rank_task(ranker, task, "argmax")
    assert fewer.answer.confidence is None
    assert fewer.why_unknown == "argmax was not calibrated on 2 retrieved candidates with 0 guesses"
    ranker.info = replace(ranker.info, calibration=known)

    ranker.knows = lambda photo: False
    unlike = rank_task(ranker, task, "argmax", demand)
    assert caplog.messages == ["q.jpg is unlike what the adapter was calibrated on (tiles): no confidence is stated"]
    assert (unlike.ranking, unlike.index, unlike.answer.place) == (alike.ranking, alike.index, alike.answer.place)
    assert unlike.answer.confidence is unlike.answer.regions is None
    assert unlike.answer.answered is (True if demand is None else None)


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
    places = [(candidate.latitude, candidate.image) for candidate in task.query.candidates]
    assert places == [(1.0, "a.jpg"), (3.0, "b.jpg"), (7.0, None)]
    assert (task.query.latitude, task.query.longitude) == (5.0, 6.0)
    assert task.photo.size == (24, 16)
    assert "a.jpg" in task.gallery
    assert (task.problems, task.has_gps) == ([], False)  # problems of other queries are not this one's

    with pytest.raises(ValueError, match=r"^away\.jpg is no usable query of .*candidates\.csv$"):
        benchmark_task("away.jpg", **flags, topn=2, topn_zs=1)
    with pytest.raises(ValueError, match=r"(?s)empty\.jpg is no usable query of .*\n.*latitude 99.*row skipped$"):
        benchmark_task("empty.jpg", **flags, topn=2, topn_zs=1)
    with pytest.raises(ImageError, match=r"other\.jpg: not in "):
        benchmark_task("other.jpg", **flags, topn=2, topn_zs=1)


def test_a_photo_of_ones_own(folder):
    path = str(folder / "photos" / "q.jpg")
    task = listed_task(path, [A, B], ["as read"], 1.5, 2.5)
    assert task.query == Query(path, (A, B), latitude=1.5, longitude=2.5)
    assert (task.photo.size, task.gallery, task.problems, task.has_gps) == ((24, 16), None, ["as read"], False)
    assert listed_task(path, [A], [], None, None).query.latitude is None

    tags = Image.Exif()
    tags[0x8825] = {1: "N", 2: (46, 0, 0), 3: "E", 4: (7, 0, 0)}
    Image.new("RGB", (8, 8)).save(folder / "tagged.jpg", exif=tags)
    assert listed_task(str(folder / "tagged.jpg"), [A], [], None, None).has_gps
    with pytest.raises(ImageError, match=r"broken\.jpg"):
        listed_task(str(folder / "gallery" / "broken.jpg"), [A], [], None, None)
