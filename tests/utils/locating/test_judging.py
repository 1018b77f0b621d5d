from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from tests.released import saved_as_jpeg
from utils.answer import Demand, NothingKnown
from utils.calibration import FEATURES, Calibration, Calibrations, Sources
from utils.candidates import Candidate
from utils.decider import Decider
from utils.decoding import WITHOUT_RANKER, Evidence, shares
from utils.locating.judging import Judge, PhotoDoesNotFit
from utils.locating.photo import Photo
from utils.locating.task import Option, Task
from utils.model.adapter_info import AdapterInfo
from utils.model.memory import DoesNotFit
from utils.photos.images import ImageError

A, B = Candidate(1.0, 2.0, ("Town",), "a.jpg", similarity=0.5), Candidate(3.0, 4.0, ("Far",), "b.jpg", similarity=0.25)
BROKEN, GUESS = Candidate(5.0, 6.0, image="broken.jpg"), Candidate(7.0, 8.0, ("Guess",), source="generation")
PHOTOS = {"a.jpg": Image.new("RGB", (24, 16), "red"), "b.jpg": Image.new("RGB", (24, 16), "blue")}


def opened(name: str) -> Image.Image:
    if name not in PHOTOS:
        raise ImageError(f"{name} cannot be read")
    return PHOTOS[name]


def task_of(*candidates: Candidate, image: Image.Image | None = None, **about) -> Task:
    ranks = (np.nan if candidate.source == "generation" else float(n) for n, candidate in enumerate(candidates))
    options = tuple(Option(candidate, opened, rank) for candidate, rank in zip(candidates, ranks, strict=True))
    photo = Photo(image or Image.new("RGB", (8, 8)), "q.jpg", "q.jpg")
    return Task(photo, options, candidates[:1], **about)


class Ranker:
    """Scores the candidates that it is given by ``rewards`` (by latitude)."""

    def __init__(self, rewards: dict[float, float], info: AdapterInfo) -> None:
        self.rewards, self.info, self.given = rewards, info, []

    def score_photos(self, queries):
        self.given.append(queries)
        return [torch.tensor([self.rewards[place.latitude] for place in query.candidates]) for query in queries]


def judge_of(ranker: Ranker, method: str = "argmax", **about) -> Judge:
    return Judge(Decider.of_adapter(ranker.info, method), "path/adapter", ranker, **about)


def test_the_answer_is_decoded_as_the_adapter_says():
    ranker = Ranker({1.0: 0.0, 3.0: 1.0}, AdapterInfo("base", temperature=2.0, similarity_weight=10.0))
    task = task_of(A, BROKEN, B, used=("three of a list",), notes=("a note",))
    (found,) = judge_of(ranker).answers([task])
    ((query,),) = ranker.given
    assert (query.image, query.negatives) == (task.photo.image, (A,))
    assert query.candidates == (replace(A, image=PHOTOS["a.jpg"]), replace(B, image=PHOTOS["b.jpg"]))
    assert [(place.candidate, place.name, place.reward) for place in found.places] == [
        (B, "Far", 1.0),
        (A, "Town", 0.0),
    ]
    assert [place.share for place in found.places] == pytest.approx(shares([1.0, 0.0], 2.0))
    assert (found.index, found.latitude, found.place, found.candidate) == (0, 3.0, "Far", B)
    assert (found.confidence, found.regions, found.answered) == (None, None, True)
    assert (found.ranker, found.decode) == ("path/adapter", "argmax")
    assert (found.used, found.notes) == (task.used, task.notes)
    assert found.problems == ("broken.jpg cannot be read; place left out",)
    # 0 + 10 * 0.5 is more than 1 + 10 * 0.25.
    (fused,) = judge_of(ranker, "fused").answers([task_of(A, B)])
    assert (fused.index, fused.latitude) == (1, 1.0)
    written = fused.as_json()
    assert written["prediction"]["image"] == "a.jpg"
    assert [record["place"] for record in written["candidates"]] == ["Far", "Town"]
    assert written["candidates"][0] == {
        "latitude": 3.0,
        "longitude": 4.0,
        "reward": 1.0,
        "share": fused.places[0].share,
        "place": "Far",
        "image": "b.jpg",
        "source": "retrieval",
        "credit": None,
    }


def test_the_photo_is_re_encoded_as_the_candidates_are(make_image):
    ranker = Ranker({1.0: 0.0}, AdapterInfo("base", candidate_jpeg_quality=75))
    photo = make_image(16, 16)
    judge_of(ranker).answers([task_of(A, image=photo)])
    ((query,),) = ranker.given
    assert query.image.tobytes() == saved_as_jpeg(photo).tobytes() != photo.tobytes()


@pytest.mark.parametrize("demand", [None, Demand(0.1, 25)])
def test_nothing_is_stated_of_a_photo_unlike_what_the_adapter_was_calibrated_on(caplog, demand):
    sources = Sources(2, 0, 0.0, "gallery")
    nothing = (0.0,) * (1 + FEATURES)
    fitted = Calibration((nothing,) * 5, nothing, (10.0, 20.0, 30.0, 40.0), 100)
    known = Calibrations(sources, {"argmax": fitted}, ((2, 0),))
    ranker = Ranker({1.0: 0.0, 3.0: 1.0}, AdapterInfo("base", calibration=known, domain="tiles"))
    task = task_of(A, B, sources=sources)

    ranker.knows = lambda photo: photo is task.photo.image
    (alike,) = judge_of(ranker, demand=demand).answers([task])
    assert alike.confidence[25] == 0.5
    assert alike.answered is True
    assert caplog.messages == []
    assert alike.why_unknown == ""

    ranker.info = replace(ranker.info, calibration=replace(known, counts=((2, 1), (4, 0))))
    (fewer,) = judge_of(ranker).answers([task])
    assert fewer.confidence is None
    assert fewer.why_unknown == (
        "deciding by the highest reward (argmax) was not calibrated on 2 similar photos with no guesses"
    )
    (refused,) = judge_of(ranker, demand=Demand(0.1, 25)).answers([task])
    assert isinstance(refused, NothingKnown)
    assert str(refused) == f"no confidence can be asked for: {fewer.why_unknown}"
    ranker.info = replace(ranker.info, calibration=known)

    ranker.knows = lambda photo: False
    (unlike,) = judge_of(ranker, demand=demand).answers([task])
    assert caplog.messages == ["q.jpg is unlike what the adapter was calibrated on (tiles): no confidence is stated"]
    assert (unlike.places, unlike.index, unlike.place) == (alike.places, alike.index, alike.place)
    assert unlike.confidence is unlike.regions is None
    assert unlike.answered is (True if demand is None else None)
    caplog.clear()
    (none,) = judge_of(ranker, demand=demand, known_only=True).answers([task])
    assert caplog.messages == []  # it has no answer of which anything could be stated
    assert str(none).startswith("q.jpg: unlike tiles, all that path/adapter knows; asked about alone, other")


def test_a_vote_needs_no_ranker():
    near = Candidate(3.1, 4.1, ("Near far",), source="generation")
    task = task_of(A, B, near)
    (found,) = Judge(Decider.of_vote("consensus"), "consensus").answers([task])
    evidence = Evidence([(1.0, 2.0), (3.0, 4.0), (3.1, 4.1)], ranks=[0.0, 1.0, np.nan])
    support = WITHOUT_RANKER["consensus"].support(evidence)
    assert [place.candidate for place in found.places] == [(A, B, near)[number] for number in np.argsort(-support)]
    assert found.candidate is near is found.places[0].candidate
    assert [place.share for place in found.places] == pytest.approx(sorted(support / support.sum(), reverse=True))
    assert (found.ranker, found.decode, found.places[0].reward) == ("consensus", None, None)
    assert (found.confidence, found.why_unknown) == (None, "a vote of the candidates (consensus) was not calibrated")


def test_the_very_same_photo_is_pointed_out():
    ranker = Ranker({1.0: 0.0, 3.0: 1.0}, AdapterInfo("base"))
    same, other = (task_of(A, B, image=PHOTOS[name].copy()) for name in ("b.jpg", "a.jpg"))
    found = judge_of(ranker).answers([same, other])
    assert [answer.notes for answer in found] == [("the photo of the answer, b.jpg, is this very photo",), ()]


def test_a_task_costs_only_itself():
    """One has no candidate left, one a reward that is no number, and one does not fit into memory."""

    class Failing(Ranker):
        def score_photos(self, queries):
            points = [place.latitude for query in queries for place in query.candidates]
            if 7.0 in points:
                raise DoesNotFit("does not fit into memory: --quantize 8bit would do")
            if 9.0 in points:
                raise ValueError("a reward is no number: [nan]")
            return super().score_photos(queries)

    ranker = Failing({1.0: 0.0, 3.0: 1.0}, AdapterInfo("base"))
    tasks = [
        task_of(BROKEN, problems=["as before"]),
        task_of(A),
        task_of(GUESS),
        task_of(Candidate(9.0, 0.0)),
        task_of(B),
    ]
    empty, first, large, nan, last = judge_of(ranker).answers(tasks)
    assert str(empty) == "no place to rank\nas before\nbroken.jpg cannot be read; place left out"
    assert (first.candidate, last.candidate) == (A, B)
    assert str(large) == "q.jpg: does not fit into memory: --quantize 8bit would do"
    assert isinstance(large, PhotoDoesNotFit)
    assert str(nan) == "a reward is no number: [nan]"
    assert (empty.__traceback__, nan.__traceback__) == (None, None)  # whose frames hold the photos
    (fused,) = judge_of(ranker, "fused").answers([task_of(replace(A, similarity=None))])
    assert str(fused) == "no candidate has a similarity: fused has nothing to fuse rewards with"
