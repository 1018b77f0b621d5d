"""docs/own_gallery.md in miniature: geotagged photos -> metadata table -> index -> places for new photos."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import quick_start
import retrieve_candidates
from tests.world import build_world
from tools import gallery_from_exif as exif
from utils.candidates import Candidate
from utils.generation.journal import Reply
from utils.generation.local import LocalModel
from utils.geo_ranker import GeoRanker
from utils.geography.answers import parse_answers
from utils.locating.locations import Location, read_locations
from utils.model.adapter_info import AdapterInfo
from utils.model.memory import DoesNotFit
from utils.photos.images import open_image
from utils.photos.store import ImageStore
from utils.retrieval.encoders import TowerEncoder
from utils.retrieval.gallery import Gallery

PHOTOS = 24


def geotag(latitude: float, longitude: float) -> Image.Exif:
    tags = Image.Exif()
    sides = "S" if latitude < 0 else "N", "W" if longitude < 0 else "E"
    tags[0x8825] = {1: sides[0], 2: (abs(latitude), 0, 0), 3: sides[1], 4: (abs(longitude), 0, 0)}
    return tags


@pytest.fixture(scope="module")
def own(tmp_path_factory, tiny_base, make_image) -> Path:
    """gallery/ with index/, adapter/, and new/ with three photos: g3 under a heading, one with GPS, and no photo."""
    folder = tmp_path_factory.mktemp("own")
    build_world(folder / "world", tiny_base)
    shutil.move(folder / "world" / "adapter", folder / "adapter")
    rng = np.random.default_rng(0)
    (folder / "gallery" / "trip").mkdir(parents=True)
    for number in range(PHOTOS):
        tags = geotag(*(round(degrees, 2) for degrees in (rng.uniform(-60, 60), rng.uniform(-180, 180))))
        make_image(24, 24, number).save(folder / "gallery" / "trip" / f"g{number}.png", exif=tags if number else None)
    # A place two steps from that of g1, so that the two are near-duplicates.
    make_image(24, 24, 100).save(
        folder / "gallery" / "twin.png", exif=Image.open(folder / "gallery" / "trip" / "g1.png").getexif()
    )
    (folder / "new" / "more").mkdir(parents=True)
    make_image(24, 24, 3).save(folder / "new" / "like g3.png")
    make_image(32, 16, 200).save(folder / "new" / "more" / "tagged.jpg", exif=geotag(12.25, -34.5))
    (folder / "new" / "broken.jpg").write_bytes(b"no photo")

    gallery = folder / "gallery"
    assert exif.main([str(gallery), str(gallery / "metadata.csv")]) == 0
    build = f"build --gallery {gallery}/metadata.csv --image_data_path {gallery} --model {tiny_base}"
    assert retrieve_candidates.main([*build.split(), "--index", str(gallery / "index"), "--workers", "0"]) == 0
    return folder


@pytest.fixture
def run(own, tiny_base, tmp_path, monkeypatch):
    """``run(image, *flags)``: exit code; the results lie in tmp_path."""

    def run(image, *flags):
        gallery = own / "gallery"
        names = {"locations": "locations.csv"} if image.is_dir() else {"output": "ranking.json"}
        arguments = ["--image", image, "--index", gallery / "index", "--image_data_path", gallery]
        arguments += ["--model", tiny_base, "--model_path", own / "adapter", "--device", "cpu", *flags]
        arguments += [part for name, file in names.items() for part in (f"--{name}", tmp_path / file)]
        monkeypatch.setattr(sys, "argv", ["quick_start.py", *map(str, arguments)])
        return quick_start.main()

    return run


def test_photos_without_a_place_are_in_no_gallery(own) -> None:
    table = pd.read_csv(own / "gallery" / "metadata.csv")
    assert len(table) == PHOTOS
    assert "trip/g0.png" not in set(table["IMG_ID"])
    assert table["country"].notna().all()


def test_one_photo(own, run, tmp_path, tiny_base, capsys) -> None:
    photo = own / "new" / "like g3.png"
    assert run(photo, "--topn", 6, "--generate", 4, "--map", tmp_path / "map.png") == 0
    ranking = json.loads((tmp_path / "ranking.json").read_text(encoding="utf-8"))["candidates"]

    # The same by hand: cosines with all photos, the model's answers, and the ranker.
    table = pd.read_csv(own / "gallery" / "metadata.csv", keep_default_na=False)
    gallery = ImageStore.from_paths([own / "gallery"])
    encoder = TowerEncoder.from_pretrained(tiny_base)
    cosines = encoder.encode([open_image(photo)]) @ encoder.encode([gallery.open(name) for name in table["IMG_ID"]]).T
    order = np.argsort(-cosines[0], kind="stable")[:20]
    retrieved = [
        Candidate(row.LAT, row.LON, tuple(filter(None, (row.city, row.state, row.country))), row.IMG_ID)
        for row in table.loc[order].itertuples()
    ]
    assert retrieved[0].image == "trip/g3.png"
    (reply,) = LocalModel.from_pretrained(tiny_base).replies({photo.name: open_image(photo)}, num_samples=4)
    places, _ = parse_answers(reply.whole)
    candidates = [*retrieved[:6], *(Candidate(*place) for place in places)]
    ranker = GeoRanker.from_pretrained(tiny_base, own / "adapter", device="cpu")
    expected = ranker.rank(photo, candidates, retrieved[-5:], images=gallery)
    assert [record["image"] for record in ranking] == [place.candidate.image for place in expected]
    for record, place in zip(ranking, expected, strict=True):
        assert (record["latitude"], record["longitude"]) == (place.candidate.latitude, place.candidate.longitude)
        assert record["reward"] == pytest.approx(place.reward, abs=1e-4)
        assert record["source"] == ("retrieval" if place.candidate.image else "generation")

    printed = capsys.readouterr()
    lost = f"{4 - len(places)} of 4 guesses name no usable place and are left out\n"
    assert (lost in printed.err) == (len(places) < 4)
    assert f"Candidates: 6 similar photos of {own / 'gallery' / 'index'}, which has {PHOTOS}; " in printed.out
    assert "is this very photo" in printed.err or ranking[0]["image"] != "trip/g3.png"
    assert f"Prediction: {ranking[0]['latitude']:.5f}" in printed.out
    assert "EXIF" not in printed.out + printed.err
    with Image.open(tmp_path / "map.png") as picture:
        assert picture.format == "PNG"


def test_guesses_are_ranked_too(own, run, tmp_path, monkeypatch, capsys) -> None:
    answers = ('{"latitude": 1.5, "longitude": 2.5}', "no idea", "(0.0, 0.0)", "3.25 S, 4.5 W", "(5.5, 6.7")
    monkeypatch.setattr(
        LocalModel,
        "replies",
        lambda _, photos, num_samples: [Reply(name, answers[:num_samples], cut=(4,)) for name in photos],
    )
    assert run(own / "new" / "like g3.png", "--topn", 2, "--generate", 5) == 0
    ranking = json.loads((tmp_path / "ranking.json").read_text(encoding="utf-8"))["candidates"]
    guesses = {(record["latitude"], record["longitude"]) for record in ranking if record["source"] == "generation"}
    assert guesses == {(1.5, 2.5), (-3.25, -4.5)}
    assert len(ranking) == 4
    assert "3 of 5 guesses name no usable place and are left out\n" in capsys.readouterr().err


def test_coordinates_of_the_query_are_not_used(own, run, tmp_path, make_image, capsys) -> None:
    results = []
    for folder, tags in (("without", Image.Exif()), ("with", geotag(12.25, -34.5)), ("other", geotag(-60, 99))):
        (tmp_path / folder).mkdir()
        make_image(32, 16, 7).save(tmp_path / folder / "photo.jpg", exif=tags)
        assert run(tmp_path / folder / "photo.jpg", "--generate", 3, "--map", tmp_path / "map.png") == 0
        said = f"{tmp_path / folder / 'photo.jpg'} has GPS coordinates in its EXIF; they are not used\n"
        assert (said in capsys.readouterr().err) == (folder != "without")
        written = json.loads((tmp_path / "ranking.json").read_text(encoding="utf-8"))
        assert written.pop("photo") == str(tmp_path / folder / "photo.jpg")
        results.append([written, (tmp_path / "map.png").read_bytes()])
    assert results[0] == results[1] == results[2]
    for folder in ("without", "with", "other"):
        for name in ("locations.csv", "locations.csv.jsonl"):
            (tmp_path / name).unlink(missing_ok=True)
        assert run(tmp_path / folder) == 0
        assert ("photo.jpg has GPS coordinates" in capsys.readouterr().err) == (folder != "without")
        results.append((tmp_path / "locations.csv").read_bytes())
    assert results[3] == results[4] == results[5]


def test_near_duplicates_can_be_merged(own, run, tmp_path) -> None:
    def places(*flags) -> set[str]:
        run(own / "gallery" / "trip" / "g1.png", "--topn", PHOTOS, *flags)
        return {record["image"] for record in json.loads((tmp_path / "ranking.json").read_text())["candidates"]}

    assert {"trip/g1.png", "twin.png"} < places()
    assert places() - places("--merge_km", 0.3) == {"twin.png"}


def test_a_folder_of_photos(own, run, tmp_path, capsys) -> None:
    assert run(own / "new") == 1
    captured = capsys.readouterr()
    assert "problem: broken.jpg: " in captured.err
    assert "more/tagged.jpg has GPS coordinates in its EXIF; they are not used" in captured.err
    assert "2 of 3 photos have a place" in captured.out
    rows = read_locations(tmp_path / "locations.csv")
    assert [row.file for row in rows] == ["broken.jpg", "like g3.png", "more/tagged.jpg"]
    assert rows[0] == Location("broken.jpg", problem=rows[0].problem)
    features = json.loads((tmp_path / "locations.geojson").read_text(encoding="utf-8"))["features"]
    for row, feature in list(zip(rows, features, strict=True))[1:]:
        run(own / "new" / row.file)
        best = json.loads((tmp_path / "ranking.json").read_text(encoding="utf-8"))["candidates"][0]
        assert (row.latitude, row.longitude, row.place) == (best["latitude"], best["longitude"], best["place"])
        assert (row.confidence, row.answered) == (None, True)
        assert feature["geometry"]["coordinates"] == [best["longitude"], best["latitude"]]
        assert feature["properties"]["place"] == best["place"]
        assert row.problem == ""

    before = (tmp_path / "locations.csv").read_bytes()
    capsys.readouterr()
    assert run(own / "new") == 1
    captured = capsys.readouterr()
    assert "2 of 3 photos are in" in captured.err
    assert "problem: broken.jpg: " in captured.err
    assert (tmp_path / "locations.csv").read_bytes() == before


def test_a_photo_that_does_not_fit_into_memory_costs_only_itself(own, run, tmp_path, monkeypatch, capsys) -> None:
    score = GeoRanker.score_photos

    def fail(ranker, queries):
        if queries[0].image.size == (32, 16):
            raise DoesNotFit("a query photo with one candidate does not fit into memory: --quantize 8bit would do")
        return score(ranker, queries)

    monkeypatch.setattr(GeoRanker, "score_photos", fail)
    assert run(own / "new") == 1
    problem = "more/tagged.jpg: a query photo with one candidate does not fit into memory: --quantize 8bit would do"
    assert problem in capsys.readouterr().err
    assert [row.latitude is None for row in read_locations(tmp_path / "locations.csv")] == [True, False, True]


def test_a_table_of_another_calibration_or_gallery_is_not_continued(own, run, tmp_path, monkeypatch) -> None:
    assert run(own / "new", "--decode", "fused_consensus") == 1
    with monkeypatch.context() as patch:
        patch.setattr(Gallery, "digest", "0" * 64)
        with pytest.raises(SystemExit, match=r"was made otherwise \(gallery \w+, not 0000"):
            run(own / "new", "--decode", "fused_consensus")
    info = AdapterInfo.load(own / "adapter")
    try:
        replace(info, temperature=3.0).save(own / "adapter")
        with pytest.raises(SystemExit, match=r"was made otherwise \(calibration \w+, not \w+"):
            run(own / "new", "--decode", "fused_consensus")
    finally:
        info.save(own / "adapter")
    assert run(own / "new", "--decode", "fused_consensus") == 1


def test_an_unreadable_gallery_photo_costs_only_its_place(own, run, tmp_path, capsys) -> None:
    name = own / "gallery" / "trip" / "g3.png"
    photo = name.read_bytes()
    name.write_bytes(b"no photo")
    try:
        assert run(own / "new" / "like g3.png") == 1
        assert run(own / "new") == 1
    finally:
        name.write_bytes(photo)
    assert "g3.png" in capsys.readouterr().err
    ranking = json.loads((tmp_path / "ranking.json").read_text())["candidates"]
    assert len(ranking) == 11
    row = read_locations(tmp_path / "locations.csv")[1]
    assert row.latitude is not None
    assert "g3.png" in row.problem
    assert "place left out" in row.problem


def test_what_does_not_fit_is_named(own, run, tiny_base, tmp_path) -> None:
    with pytest.raises(SystemExit, match=r"index\.json"):
        run(own / "new", "--index", own / "gallery")
    with pytest.raises(SystemExit, match=r"away\.jpg does not exist"):
        run(own / "away.jpg")
    shutil.copytree(own / "gallery" / "index", own / "gallery" / "other index")
    info = own / "gallery" / "other index" / "index.json"
    info.write_text(json.dumps(json.loads(info.read_text()) | {"gallery": "../../gallery.csv"}))
    (own / "gallery.csv").write_text("IMG_ID,LAT,LON\ntwin.png,1,2\n")
    with pytest.raises(SystemExit, match=r"gallery\.csv is no longer the gallery"):
        run(own / "new", "--index", own / "gallery" / "other index")


def test_the_gallerys_own_copy_can_be_left_out(own, run, tmp_path, capsys) -> None:
    copy = own / "gallery" / "twin.png"
    assert run(copy, "--exclude_same_id") == 0
    names = {record["image"] for record in json.loads((tmp_path / "ranking.json").read_text())["candidates"]}
    assert "twin.png" not in names
    assert "trip/g1.png" in names or len(names) == 12
    run(copy)
    assert "twin.png" in {
        record["image"] for record in json.loads((tmp_path / "ranking.json").read_text())["candidates"]
    }


def test_a_gallery_alone_votes(own, tmp_path, monkeypatch, capsys) -> None:
    gallery = own / "gallery"
    arguments = ["--image", own / "new" / "like g3.png", "--index", gallery / "index", "--image_data_path", gallery]
    arguments += ["--output", tmp_path / "ranking.json", "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["quick_start.py", *map(str, arguments)])
    assert quick_start.main() == 0
    written = json.loads((tmp_path / "ranking.json").read_text())
    assert (written["ranker"], written["decode"], written["confidence"]) == ("consensus", None, None)
    assert {record["reward"] for record in written["candidates"]} == {None}
    printed = capsys.readouterr().out
    assert "Decided by: a vote of the candidates (no ranker)" in printed
    assert "Confidence: unknown; a vote of the candidates (consensus) was not calibrated" in printed
