"""Each photo by what suits it, of what is in memory, as its request wants it."""

from dataclasses import replace

import pytest

import retrieve_candidates
from tests.world import build_world
from utils.answer import Demand
from utils.calibration import FEATURES, Calibration, Calibrations, Sources
from utils.candidates import Candidate
from utils.locating import automatic
from utils.locating.choices import Choices
from utils.locating.gallery_source import GallerySource
from utils.locating.sources import ListedPlaces
from utils.web.finder import Finder, offer_of
from utils.web.problems import Problem
from utils.web.settings import Settings

PLACES = ListedPlaces([Candidate(46.2, 7.1, source="csv"), Candidate(44.2, 6.7, source="csv")])
EARTH = {"model": "checkpoints/earth-base", "model_path": "checkpoints/earth"}


@pytest.fixture(scope="module")
def ranked():
    """A list and guesses, ranked by the shipped adapter."""
    return Finder.chosen(Choices(**EARTH, places=PLACES, generate=3), "cpu")


def test_what_is_offered(ranked):
    offer = ranked.offer
    assert {kind: list(words) for kind, words in offer.sources.items()} == {
        "list": ["places of a list"],
        "guesses": ["guesses of checkpoints/earth-base"],
    }
    assert (offer.decode, offer.generate, offer.demand) == (["argmax", "consensus"], 3, None)
    assert (offer.decides, offer.sent_to) == (["the GeoRanker in checkpoints/earth"], None)
    assert ranked.offer.as_json()["within"] == []  # the adapter knows a gallery, and nothing of a list
    vote = Finder.chosen(Choices(places=PLACES, ranker="consensus_equal"), "cpu").offer
    assert (vote.decode, vote.generate) == ([], None)
    assert vote.decides == ["a vote of the candidates, all of equal weight (no ranker)"]
    with pytest.raises(Problem, match="decode: a vote decides"):
        vote.check(Settings(decode="argmax"))
    with pytest.raises(Problem, match="generate: the app was started without"):
        vote.check(Settings(generate=1))
    with pytest.raises(Problem, match="min_confidence: how sure this app's answers are is not known: leave it out"):
        vote.check(Settings(min_confidence=0.5))


def test_a_request_varies_what_is_in_memory(ranked, make_image):
    photo = make_image(32, 32)
    same = ranked.locator(photo, Settings())
    assert same.choices == ranked.of_others.choices
    assert [source.take for source in same.sources] == [2, 3]
    fields = {"generate": 5, "decode": "consensus", "min_confidence": 0.25, "within": 25}
    other = ranked.locator(photo, Settings(sources=["guesses"], **fields))
    assert [source.take for source in other.sources] == [5]
    assert other.judge.ranker is ranked.of_others.judge.ranker
    assert (other.judge.decider.name, other.judge.demand) == ("consensus", Demand(0.25, 25))
    fewer = ranked.locator(photo, Settings(generate=0))
    assert [type(source) for source in fewer.sources] == [ListedPlaces]
    with pytest.raises(Problem, match="nothing finds candidates"):
        ranked.locator(photo, Settings(sources=["guesses"], generate=0))


def test_a_demand_needs_a_confidence(make_image):
    finder = Finder.chosen(Choices(places=PLACES), "cpu")
    with pytest.raises(Problem, match="within: no use without min_confidence"):
        finder.locator(make_image(8, 8), Settings(within=25))
    assert finder.locator(make_image(8, 8), Settings()).judge.demand is None


def test_a_demand_that_can_never_be_met_ends_the_start(machine):
    with pytest.raises(ValueError, match=r"demand \(--min_confidence\) needs a GeoRanker"):
        Finder.chosen(Choices(places=PLACES, demand=Demand(0.5, 25)), "cpu")
    with pytest.raises(ValueError, match=r"demand \(--min_confidence\): .*: leave it out"):
        Finder.automatic(demand=Demand(0.5, 25), device="cpu")  # Earth's gallery is not built


def test_confidence_is_offered_where_a_request_can_have_candidates_of_the_calibration(tmp_path, tiny_base):
    build_world(tmp_path, tiny_base)
    build = f"build --gallery {tmp_path}/gallery.csv --image_data_path {tmp_path}/gallery.tar --model {tiny_base}"
    assert retrieve_candidates.main([*build.split(), "--index", str(tmp_path / "index"), "--workers", "0"]) == 0
    files = {"index": tmp_path / "index", "image_data_path": tmp_path / "gallery.tar"}
    choices = Choices(str(tiny_base), tmp_path / "adapter", places=PLACES, topn=2, generate=3, **files)
    finder = Finder.chosen(choices, "cpu")
    (locator,) = finder.locators
    assert not finder.offer.knows  # nobody calibrated it
    gallery = next(source.known_as for source in locator.sources if isinstance(source, GallerySource))
    nothing = (0.0,) * (1 + FEATURES)
    fitted = Calibration((nothing,) * 5, nothing, (10.0, 20.0, 30.0, 40.0), 100)
    for topn, guesses, offered in ((2, 3, True), (2, 0, True), (3, 0, False)):
        known = Calibrations(Sources(topn, guesses, 0.0, gallery), {"argmax": fitted}, ((topn, guesses),))
        info = replace(locator.judge.ranker.info, calibration=known)
        locator.judge.ranker.info = info
        locator.judge = locator.judge.varied("argmax", None)
        assert offer_of([locator]).knows == offered
    locator.judge = locator.judge.varied("argmax", Demand(0.5, 25))
    with pytest.raises(ValueError, match="was calibrated on candidates from elsewhere"):
        finder.check_demand()  # those of the list, which nobody leaves out unasked


def test_quantised_guesses_may_be_left_out():
    choices = Choices(model="m", places=PLACES, generate=2, quantize="4bit")
    from utils.locating.variation import Variation

    assert Variation(("list",), 2).choices(choices).quantize is None
    assert Variation(("list", "guesses"), 2).choices(choices).quantize == "4bit"


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Without GeoCLIP's CLIP; Earth's gallery is not built."""
    monkeypatch.setattr(automatic, "is_available", lambda: False)
    earth = replace(automatic.BENCHMARKS["earth"], gallery_index=str(tmp_path / "index"))
    monkeypatch.setattr(automatic, "BENCHMARKS", {"earth": earth})
    return monkeypatch


def test_tiles_and_photographs_have_each_their_own(machine, make_image):
    machine.setenv("OPENAI_API_KEY", "sk-test")
    finder = Finder.automatic("m", "http://127.0.0.1:9/v1", device="cpu")
    assert (finder.offer.sent_to, finder.offer.generate) == ("m", 3)
    assert finder.offer.sources == {"guesses": ["guesses of checkpoints/earth-base", "guesses of m"]}
    machine.setattr(type(finder.of_tiles.judge.ranker), "knows", lambda ranker, photo: photo.width == 64)
    tile, photograph = make_image(64, 64), make_image(32, 32)
    assert finder.locator(tile, Settings()).choices == finder.of_tiles.choices
    assert finder.locator(photograph, Settings()).choices == finder.of_others.choices


def test_where_nothing_finds_photographs_it_is_said(machine, make_image):
    finder = Finder.automatic(device="cpu")
    assert finder.of_others is None
    with pytest.raises(Problem, match="unlike the tiles of the embedded world") as problem:
        finder.locator(make_image(64, 64), Settings())  # noise, which is no tile
    assert problem.value.status == 422
    nowhere = replace(automatic.BENCHMARKS["earth"], model="away")
    machine.setattr(automatic, "BENCHMARKS", {"earth": nowhere})
    with pytest.raises(ValueError, match=r"(?s)nothing on this machine.*python app\.py --retriever geoclip\n"):
        Finder.automatic(device="cpu")
