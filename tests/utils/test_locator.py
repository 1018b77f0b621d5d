"""One photo and many, from all sources together, beside the same by hand."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import retrieve_candidates
from tests.loopback import completion, serving
from tests.world import build_world
from utils.answer import Answer, Demand
from utils.candidates import Candidate
from utils.decoding import WITHOUT_RANKER, Evidence
from utils.generation.local import LocalModel
from utils.geo_ranker import GeoRanker
from utils.geography.answers import parse_answers
from utils.locating.choices import Choices
from utils.locating.sources import ListedPlaces
from utils.locator import Locator
from utils.model.adapter_info import AdapterInfo
from utils.photos.images import ImageError, open_image
from utils.photos.store import ImageStore
from utils.retrieval.encoders import TowerEncoder
from utils.retrieval.geoclip import GeoClip


@pytest.fixture(scope="module")
def world(tmp_path_factory, tiny_base) -> Path:
    folder = tmp_path_factory.mktemp("world")
    build_world(folder, tiny_base)
    build = f"build --gallery {folder}/gallery.csv --image_data_path {folder}/gallery.tar --model {tiny_base}"
    assert retrieve_candidates.main([*build.split(), "--index", str(folder / "index"), "--workers", "0"]) == 0
    return folder


@pytest.fixture
def everything(world, tiny_base, geoclip_release, tiny_clip) -> dict:
    """Choices of all sources on this machine."""
    places = [Candidate(10.0, 20.0, ("Here",), str(world / "gallery" / "g0.jpg"), "csv")]
    return {
        "model": str(tiny_base),
        "model_path": world / "adapter",
        "places": ListedPlaces(places),
        "index": world / "index",
        "image_data_path": world / "gallery.tar",
        "retriever": "geoclip",
        "geoclip": geoclip_release,
        "clip": tiny_clip,
        "generate": 3,
        "topn": 2,
        "merge_km": 0.0,
        "device": "cpu",
    }


def by_hand(world, base, photo: Path, geoclip_release, tiny_clip) -> tuple[list[Candidate], list[Candidate]]:
    """The candidates of ``everything`` and the negative examples."""
    image = open_image(photo)
    table = pd.read_csv(world / "gallery.csv")
    gallery = ImageStore.from_paths([world / "gallery.tar"])
    encoder = TowerEncoder.from_pretrained(base)
    cosines = encoder.encode([image]) @ encoder.encode([gallery.open(name) for name in table["IMG_ID"]]).T
    rows = table.loc[np.argsort(-cosines[0], kind="stable")].itertuples()
    retrieved = [Candidate(row.LAT, row.LON, (), row.IMG_ID) for row in rows]
    geoclip = GeoClip.from_pretrained(geoclip_release, clip=tiny_clip)
    points, _ = geoclip.search(geoclip.encode([image]), 2)
    (reply,) = LocalModel.from_pretrained(base).replies({photo.name: image}, num_samples=3)
    places, _ = parse_answers(reply.whole)
    candidates = [Candidate(10.0, 20.0, ("Here",), open_image(world / "gallery" / "g0.jpg")), *retrieved[:2]]
    candidates += [Candidate(*geoclip.points[row].tolist()) for row in points[0]]
    return [*candidates, *(Candidate(*place) for place in places)], retrieved[-5:]


def test_all_sources_together(world, tiny_base, everything, geoclip_release, tiny_clip):
    photo = world / "photos" / "q1.jpg"
    candidates, negatives = by_hand(world, tiny_base, photo, geoclip_release, tiny_clip)
    locator = Locator.from_pretrained(**everything)
    answer = locator.locate(photo)
    ranker = GeoRanker.from_pretrained(tiny_base, world / "adapter", device="cpu")
    expected = ranker.rank(photo, candidates, negatives, images=ImageStore.from_paths([world / "gallery.tar"]))
    assert [place.reward for place in answer.places] == pytest.approx([place.reward for place in expected], abs=1e-4)
    for place, ranked in zip(answer.places, expected, strict=True):
        assert place.point == (ranked.candidate.latitude, ranked.candidate.longitude)
        assert place.share == pytest.approx(ranked.share, abs=1e-4)
    assert answer.candidate is answer.places[0].candidate
    assert [words.split()[1] for words in answer.used] == ["places", "similar", "of", "guesses"]
    json.dumps([answer.as_json(), locator.identity], allow_nan=False)

    # Without a ranker they vote: those of a list and the guesses as such, the others by their ranks.
    vote = Locator.from_pretrained(**everything | {"model_path": None}).locate(photo)
    ranks = [0.0, 0.0, 1.0, 0.0, 1.0, *[np.nan] * (len(candidates) - 5)]
    points = [(place.latitude, place.longitude) for place in candidates]
    best = WITHOUT_RANKER["consensus"].pick(Evidence(points, ranks=ranks))
    assert (vote.latitude, vote.longitude) == points[best]
    assert (vote.ranker, vote.confidence) == ("consensus", None)


def test_one_load_ranks_and_guesses_quantised_or_not(world, tiny_base, everything, monkeypatch):
    photo = world / "photos" / "q1.jpg"
    local = everything | dict.fromkeys(("index", "image_data_path", "retriever"))
    asked = {photo.name: open_image(photo)}
    expected = {
        quantize: (
            GeoRanker.from_pretrained(tiny_base, world / "adapter", device="cpu", quantize=quantize),
            LocalModel.from_pretrained(tiny_base, quantize=quantize).replies(asked, num_samples=3),
        )
        for quantize in (None, "8bit")
    }

    def refused(*arguments, **options):
        raise AssertionError("the base is loaded a second time")

    monkeypatch.setattr(LocalModel, "from_pretrained", refused)
    identities = []
    for quantize, (ranker, replies) in expected.items():
        locator = Locator.from_pretrained(**local, quantize=quantize)
        (place,) = locator.locate(photo).places
        alone = replace(place.candidate, image=open_image(place.candidate.image))
        (ranked,) = ranker.rank(photo, [alone])
        assert place.reward == pytest.approx(ranked.reward, abs=1e-4)
        _, guesses = locator.sources
        assert list(guesses.ask(asked, 3).values()) == replies
        identities.append(locator.identity)
    assert identities[1] == identities[0] | {"quantize": "8bit"}


def test_many_photos_are_one_after_the_other(world, everything, make_image, tmp_path):
    locator = Locator.from_pretrained(**everything)
    for name in ("a.jpg", "more/a.jpg", "z.jpg"):  # two of one name, whose guesses differ all the same
        (tmp_path / name).parent.mkdir(exist_ok=True)
        make_image(32, 24, len(name)).save(tmp_path / name, quality=95)
    (tmp_path / "broken.jpg").write_bytes(b"no photo")
    alone = {name: locator.locate(tmp_path / name) for name in ("a.jpg", "more/a.jpg", "z.jpg")}
    for locator.batch_size in (1, 3):
        found = dict(locator.locate_all(tmp_path))
        assert list(found) == ["a.jpg", "broken.jpg", "more/a.jpg", "z.jpg"]
        assert isinstance(found.pop("broken.jpg"), ImageError)
        for name, answer in found.items():
            assert [place.point for place in answer.places] == [place.point for place in alone[name].places]
            rewards = [place.reward for place in alone[name].places]
            assert [place.reward for place in answer.places] == pytest.approx(rewards, abs=1e-4)
    with Image.open(tmp_path / "z.jpg") as picture:
        pictures = [(tmp_path / "z.jpg").read_bytes(), picture, tmp_path / "away.jpg"]
        (_, first), (_, second), (name, missing) = locator.locate_all(iter(pictures))
    assert first.places == second.places
    assert (name, type(missing)) == (str(tmp_path / "away.jpg"), ImageError)
    assert list(locator.locate_all([])) == []


def test_what_an_encoder_refuses_costs_only_itself(world, everything, monkeypatch, make_image):
    locator = Locator.from_pretrained(**everything)
    encode = TowerEncoder.encode

    def refusing(encoder, images):
        if any(image.width == 17 for image in images):
            raise ValueError("too odd")
        return encode(encoder, images)

    monkeypatch.setattr(TowerEncoder, "encode", refusing)
    locator.batch_size = 3
    pictures = [make_image(16, 16, 1), make_image(17, 16, 2), make_image(16, 16, 3)]
    (_, first), (_, odd), (_, last) = locator.locate_all(pictures)
    assert isinstance(first, Answer)
    assert isinstance(last, Answer)
    assert str(odd).endswith(": too odd")
    with pytest.raises(ImageError, match="too odd"):
        locator.locate(pictures[1])


def test_a_server_may_guess(world, monkeypatch, make_image):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    with serving(lambda body, _: completion("46.5, 7.25", "46.6, 7.3")) as server:
        locator = Locator.from_pretrained(generate=2, model_name="m", base_url=server.url, device="cpu")
        answer = locator.locate(make_image(24, 24))
    assert {place.point for place in answer.places} == {(46.5, 7.25), (46.6, 7.3)}
    assert answer.used == ("2 guesses of m",)
    assert locator.batch_size > 1


def test_a_calibration_knows_a_gallery_with_guesses_of_the_base(everything):
    def known(**changes):
        return Locator.from_pretrained(**everything | changes).known_as

    gallery = {"places": None, "retriever": None}
    sources = known(**gallery)
    assert (sources.topn, sources.topn_zs, sources.merge_km) == (2, 3, 0.0)
    assert sources.gallery is not None
    assert known(**gallery, generate=0).topn_zs == 0
    assert known() is known(places=None) is known(retriever=None) is None
    assert known(index=None, image_data_path=None) is None


def test_a_demand_that_no_answer_can_meet_is_refused_at_the_start(everything):
    demanding = everything | {"places": None, "retriever": None, "demand": Demand(0.5, 25)}
    with pytest.raises(ValueError, match=r"^demand \(--min_confidence\): .* was not calibrated, so .*: leave it out$"):
        Locator.from_pretrained(**demanding)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "nothing says where candidates come from"),
        ({"index": "i"}, "index needs image_data_path"),
        ({"retriever": "geoclip", "ranker": "model"}, "a ranker needs model and model_path"),
        ({"retriever": "geoclip", "model_path": "a"}, "a ranker needs model and model_path"),
        ({"generate": 3}, "generate needs a model that guesses"),
        ({"retriever": "geoclip", "quantize": "8bit"}, "quantize needs a model on this machine"),
        ({"generate": 3, "model_name": "m", "quantize": "4bit"}, "quantize needs a model on this machine"),
        ({"retriever": "geoklip"}, "retriever is 'geoklip': it is 'geoclip'"),
        ({"retriever": "geoclip", "ranker": "best"}, "ranker is 'best': it is 'model' or 'consensus'"),
        ({"generate": 3, "model": "m", "decode": "best"}, "decode is 'best': it is 'argmax' or"),
        ({"generate": 3, "model": "m", "quantize": "2bit"}, "quantize is '2bit': it is '8bit' or '4bit'"),
        ({"retriever": "geoclip", "topn": -1}, "topn is -1: it is at least 0"),
        ({"retriever": "geoclip", "merge_km": float("nan")}, "merge_km is nan: it is at least 0"),
        ({"generate": -1, "retriever": "geoclip"}, "generate is -1: it is at least 0"),
        (
            {"retriever": "geoclip", "demand": Demand(0.5, 25)},
            "demand .* needs a GeoRanker, not quantised",
        ),
        ({"index": "i", "image_data_path": "p", "demand": Demand(0.5, 25)}, "demand .* needs a GeoRanker"),
    ],
)
def test_choices_that_do_not_go_together(changes, message):
    with pytest.raises(ValueError, match=message):
        Locator.from_pretrained(**changes)


def test_places_depend_on_the_choices_and_on_what_the_files_hold(world, everything, tmp_path):
    def identity(**changes):
        return Locator.from_pretrained(**everything | changes).identity

    same = identity()
    assert same == identity()
    changes = [{"topn": 3}, {"merge_km": 5.0}, {"decode": "consensus"}, {"generate": 2}, {"exclude_same_id": True}]
    changes += [{"places": None}, {"retriever": None}, {"model_path": None}]
    for change in changes:
        assert identity(**change) != same
    gallery = {"places": None, "retriever": None}
    demanding = Choices.of(everything | gallery | {"demand": Demand(0.5, 25)})
    assert Locator.load(demanding, "cpu").identity != identity(**gallery)
    info = AdapterInfo.load(world / "adapter")
    try:
        replace(info, temperature=2.0).save(world / "adapter")
        assert identity() != same
    finally:
        info.save(world / "adapter")


def test_threads_take_turns(world, everything, make_image):
    """The one model's adapter is off while it guesses, and on while it ranks."""
    locator = Locator.from_pretrained(**everything | dict.fromkeys(("index", "image_data_path", "retriever")))
    pictures = [make_image(32, 24, number) for number in range(3)]
    alone = [locator.locate(picture).places for picture in pictures]
    with ThreadPoolExecutor(len(pictures)) as pool:
        together = list(pool.map(locator.locate, pictures))
    for places, answer in zip(alone, together, strict=True):
        assert [place.point for place in answer.places] == [place.point for place in places]
        assert [place.reward for place in answer.places] == pytest.approx([place.reward for place in places], abs=1e-4)


def test_a_damaged_cache_is_no_fault_of_a_photo(geoclip_release, tiny_clip, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    choices = {"retriever": "geoclip", "geoclip": geoclip_release, "clip": tiny_clip, "device": "cpu"}
    Locator.from_pretrained(**choices)
    (kept,) = tmp_path.rglob("*.npy")  # before any photo
    kept.write_bytes(b"no array")
    with pytest.raises(ValueError, match=f"^{kept}: .*: remove the file"):
        Locator.from_pretrained(**choices)
