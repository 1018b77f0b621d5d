import json
import re
import shutil
import sys
from dataclasses import replace

import pytest
import torch
from geopy.distance import geodesic
from PIL import Image
from transformers import AutoTokenizer

import quick_start
from tests.released import write_adapter
from tests.world import GENERATED, RETRIEVED, build_world, flags
from utils.calibration import FEATURES, Calibration, Calibrations, Sources
from utils.geo_ranker import GeoRanker
from utils.model.adapter_info import AdapterInfo
from utils.model.domain import Domain
from utils.photos.store import ImageStore
from utils.tables.candidate_table import read_candidate_table

OWN = ["--image", "x.jpg", "--candidates", "c.csv", "--model_path", "a"]
GALLERY = ["--index", "i", "--image_data_path", "g", "--model_path", "a"]
KEYS = {"latitude", "longitude", "reward", "share", "place", "image", "source", "credit"}


@pytest.fixture(scope="module")
def world(tmp_path_factory, tiny_base):
    folder = tmp_path_factory.mktemp("world")
    build_world(folder, tiny_base)
    AdapterInfo(str(tiny_base), "negatives_first", temperature=2.5).save(folder / "adapter")
    return folder


@pytest.fixture
def run(monkeypatch, tmp_path):
    """``run(*flags)``: exit code and the JSON ranking."""

    def run(*arguments):
        output = ["--output", str(tmp_path / "ranking.json"), "--map", str(tmp_path / "map.png")]
        monkeypatch.setattr(sys, "argv", ["quick_start.py", *map(str, arguments), *output])
        code = quick_start.main()
        return code, json.loads((tmp_path / "ranking.json").read_text())["candidates"]

    return run


def test_a_query_of_a_benchmark(world, run, tiny_base, tmp_path, capsys):
    code, ranking = run(*flags(world, tiny_base), "--query", "q4.jpg", "--topn", RETRIEVED, "--topn_zs", GENERATED)
    assert code == 0
    (query,) = (
        q for q in read_candidate_table(world / "candidates.csv", RETRIEVED, GENERATED)[0] if q.image == "q4.jpg"
    )
    ranker = GeoRanker.from_pretrained(tiny_base, world / "adapter", device="cpu")
    expected = ranker.rank(
        world / "photos" / "q4.jpg",
        query.candidates,
        query.negatives,
        images=ImageStore.from_paths([world / "gallery.tar"]),
    )
    assert [record.keys() for record in ranking] == [KEYS] * (RETRIEVED + GENERATED)
    for record, place in zip(ranking, expected, strict=True):
        assert (record["latitude"], record["longitude"]) == (
            place.candidate.latitude,
            place.candidate.longitude,
        )
        assert record["reward"] == pytest.approx(place.reward, abs=1e-4)
        assert record["share"] == pytest.approx(place.share, abs=1e-4)
        assert record["image"] == place.candidate.image
        assert record["source"] == place.candidate.source
        if place.candidate.texts:
            assert record["place"] == ", ".join(place.candidate.texts)
        else:
            town = r"\S.*, \S.*"  # and country
            assert re.fullmatch(rf"{town}|near {town}, [1-9][\d,]* km", record["place"])
    assert sum(record["share"] for record in ranking) == pytest.approx(1)

    printed = capsys.readouterr().out
    best = ranking[0]
    error = geodesic((query.latitude, query.longitude), (best["latitude"], best["longitude"])).km
    assert f"Prediction: {best['latitude']:.5f}, {best['longitude']:.5f}: {best['place']}" in printed
    assert f"{error:,.1f} km from the prediction" in printed
    for record in ranking:
        (line,) = (line for line in printed.splitlines() if line.endswith(f"{record['place']} ({record['source']})"))
        assert f"{record['reward']:.3f}" in line
        assert f"{100 * record['share']:.1f}%" in line
    with Image.open(tmp_path / "map.png") as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 400


def test_a_page_of_it_holds_the_ranking_and_the_photos_that_were_compared(world, run, tiny_base, tmp_path, capsys):
    query = [*flags(world, tiny_base), "--query", "q4.jpg", "--topn", RETRIEVED, "--topn_zs", GENERATED]
    code, ranking = run(*query, "--report")
    assert code == 0
    assert f"Report: {tmp_path / 'report.html'}" in capsys.readouterr().out
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    (entry,) = json.loads(page.split('id="entries">')[1].split("</script>")[0])
    assert entry["ranking"]["candidates"] == ranking
    assert entry["ranking"]["truth"] == json.loads((tmp_path / "ranking.json").read_text())["truth"]
    has_photo = [place["photo"] is not None for place in entry["candidates"]]
    assert has_photo == [place["image"] is not None for place in ranking]
    assert has_photo.count(True) == RETRIEVED

    run(*query, "--report", tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size == pytest.approx(len(page.encode()), rel=0.01)


@pytest.fixture(scope="module")
def calibrated(world):
    """The world's adapter as if argmax had been calibrated on its benchmark: half the answers lie within 200 km."""
    odds = tuple((chance, *[0.0] * FEATURES) for chance in (-9.0, -1.0, 0.0, 2.0, 9.0))
    fitted = Calibration(odds, (3.0, *[0.0] * FEATURES), (1.0, 2.0, 3.0, 4.0), 500)
    sources = Sources(RETRIEVED, GENERATED, 0.0, None)
    info = AdapterInfo.load(world / "adapter")
    shutil.copytree(world / "adapter", world / "calibrated")
    replace(info, calibration=Calibrations(sources, {"argmax": fitted}, ((RETRIEVED, GENERATED),))).save(
        world / "calibrated"
    )
    return world / "calibrated"


def test_what_an_answer_is_worth_is_stated_where_it_is_known(world, calibrated, run, tiny_base, tmp_path, capsys):
    query = [*flags(world, tiny_base), "--query", "q4.jpg", "--topn", RETRIEVED, "--topn_zs", GENERATED]
    query += ["--dataset", "im2gps3k", "--model_path", calibrated]
    code, ranking = run(*query)
    assert code == 0
    written = json.loads((tmp_path / "ranking.json").read_text())
    assert written["prediction"].items() <= ranking[0].items() | written["prediction"].items()
    assert (written["photo"], written["decode"], written["answered"]) == ("q4.jpg", "argmax", True)
    assert written["confidence"]["200"] == 0.5
    assert list(written["regions"]) == ["50", "80", "90", "95"]
    assert written["truth"]["distance_km"] > 0
    printed = capsys.readouterr().out
    assert "Confidence: hardly ever within 1 km, 27% within 25 km, 50% within 200 km, 88% within 750 km" in printed
    assert "Region that holds the truth 90% of the time: " in printed

    run(*query, "--min_confidence", "0.6", "--within", "200")
    unsure = json.loads((tmp_path / "ranking.json").read_text())
    assert unsure["answered"] is False
    assert unsure["demand"] == {"confidence": 0.6, "within_km": 200}
    assert "Not sure: less than the 60% within 200 km that were demanded" in capsys.readouterr().out
    run(*query, "--min_confidence", "0.6", "--within", "750")
    assert json.loads((tmp_path / "ranking.json").read_text())["answered"] is True

    # Of other candidates, or of another way of deciding, nothing is known.
    for change in (["--topn", "3"], ["--decode", "consensus"], ["--merge_km", "1"]):
        run(*query, *change)
        assert json.loads((tmp_path / "ranking.json").read_text())["confidence"] is None
        assert "Confidence: unknown" in capsys.readouterr().out
        with pytest.raises(SystemExit, match=r"--min_confidence: no confidence can be .*evaluate\.py --calibrate"):
            run(*query, *change, "--min_confidence", "0.6")


def test_nothing_is_stated_of_a_photo_unlike_what_the_adapter_was_calibrated_on(
    world, calibrated, run, tiny_base, tmp_path, capsys
):
    shutil.copytree(calibrated, tmp_path / "adapter")
    replace(AdapterInfo.load(calibrated), domain="nothing at all").save(tmp_path / "adapter")
    Domain(torch.zeros(64), torch.ones(64, 32), 0.0).save(tmp_path / "adapter")
    query = [*flags(world, tiny_base), "--query", "q4.jpg", "--topn", RETRIEVED, "--topn_zs", GENERATED]
    query += ["--dataset", "im2gps3k", "--model_path", tmp_path / "adapter"]
    code, ranking = run(*query)
    assert code == 0
    written = json.loads((tmp_path / "ranking.json").read_text())
    assert len(ranking) == RETRIEVED + GENERATED
    assert (written["confidence"], written["regions"], written["answered"]) == (None, None, True)
    printed = capsys.readouterr()
    assert (
        "q4.jpg is unlike what the adapter was calibrated on (nothing at all): no confidence is stated" in printed.err
    )
    assert "Confidence: unknown" in printed.out
    with pytest.raises(SystemExit, match=r"--min_confidence: nothing is known .* for such a photo"):
        run(*query, "--min_confidence", "0.6")


@pytest.fixture
def own_photo(world, tiny_base, tmp_path):
    """Flags for a photo of one's own; the third place is no place, and the fourth's photo is missing."""
    (tmp_path / "places.csv").write_text(
        "place,latitude,longitude,image\n"
        f"Martigny,46.1,7.07,{world / 'gallery' / 'g0.jpg'}\n"
        ",44.2,6.7,\n"
        "Nowhere,95,7,\n"
        '"Aosta, Italy",45.74,7.32,missing.jpg\n'
    )
    adapter, places = world / "adapter", tmp_path / "places.csv"
    return [
        *("--image", world / "photos" / "q1.jpg", "--candidates", places, "--model", tiny_base),
        *("--model_path", adapter, "--device", "cpu"),
    ]


def test_a_photo_of_ones_own(own_photo, run, capsys):
    code, ranking = run(*own_photo)
    assert code == 1
    assert {(record["latitude"], record["longitude"]) for record in ranking} == {(46.1, 7.07), (44.2, 6.7)}
    (named,) = (record for record in ranking if record["latitude"] == 46.1)
    assert named["place"] == "Martigny"
    assert named["image"].endswith("g0.jpg")
    captured = capsys.readouterr()
    assert "places.csv: row 2: latitude 95" in captured.err
    assert "missing.jpg" in captured.err
    assert "Truth" not in captured.out

    run(*own_photo, "--latitude", 46.0, "--longitude", 7.0)
    assert "Truth: 46.00000, 7.00000" in capsys.readouterr().out


def test_own_photos_without_names_get_exactly_the_published_prompt(own_photo, run, tiny_base, tmp_path, monkeypatch):
    write_adapter(tmp_path / "released", tiny_base)
    (tmp_path / "places.csv").write_text("latitude,longitude,image\n46.10,7.07,c.jpg\n-33.9,151,\n")
    Image.new("RGB", (32, 16)).save(tmp_path / "c.jpg")
    Image.new("RGB", (24, 24)).save(tmp_path / "q.jpg")
    batches, forward = [], GeoRanker.forward

    def recorded(ranker, batch, *args):
        batches.append(batch)
        return forward(ranker, batch, *args)

    monkeypatch.setattr(GeoRanker, "forward", recorded)
    code, _ = run(*own_photo, "--image", tmp_path / "q.jpg", "--model_path", tmp_path / "released")
    assert code == 0
    (batch,) = batches

    def image(tokens: int) -> str:  # an image token of the tiny model is 8 x 8 pixels
        return "<|vision_start|>" + "<|image_pad|>" * tokens + "<|vision_end|>"

    start = f"<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n{image(9)}"
    end = "<|im_end|>\n<|im_start|>assistant\n"
    expected = [
        f"{start}How far is this place from latitude: 46.1, longitude: 7.07?{image(8)}{end}",
        f"{start}How far is this place from latitude: -33.9, longitude: 151.0?{end}",
    ]
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    for number, text in enumerate(expected):
        prefix = batch.prefix_ids[0][batch.prefix_mask[0]]
        suffix = batch.suffix_ids[number][batch.suffix_mask[number]]
        assert [*prefix.tolist(), *suffix.tolist()] == tokenizer(text)["input_ids"]


def test_listed_places_vote_where_there_is_no_ranker(own_photo, run, capsys):
    without = own_photo[: own_photo.index("--model")]
    code, ranking = run(*without)
    assert code == 1  # for a place that is none, and a photo that is missing
    assert {record["reward"] for record in ranking} == {None}
    assert "Decided by: a vote of the candidates (no ranker)" in capsys.readouterr().out


def test_a_query_can_be_voted_on_and_what_is_known_of_such_votes_is_stated(world, run, tiny_base, tmp_path, capsys):
    with_model = flags(world, tiny_base)
    without = [
        flag for flag in with_model if flag not in ("--model", str(tiny_base), "--model_path", str(world / "adapter"))
    ]
    code, ranking = run(*without, "--query", "q4.jpg", "--ranker", "consensus", "--dataset", "im2gps3k")
    assert code == 0
    assert json.loads((tmp_path / "ranking.json").read_text())["ranker"] == "consensus"
    assert {record["reward"] for record in ranking} == {None}


def test_places_edited_into_the_file(own_photo, run, world, monkeypatch, capsys):
    arguments = [str(flag) for flag in own_photo]
    position = arguments.index("--candidates")
    del arguments[position : position + 2]
    monkeypatch.setattr(quick_start, "CANDIDATE_COORDINATES", [(46.1, 7.07), (95, 7), (44.2, 6.7)])
    monkeypatch.setattr(quick_start, "CANDIDATE_IMAGES", [str(world / "gallery" / "g0.jpg"), None, None])
    code, listed = run(*arguments)
    assert code == 1
    assert "CANDIDATE_COORDINATES[1]: latitude 95" in capsys.readouterr().err
    assert {record["source"] for record in listed} == {"list"}
    images = {record["latitude"]: record["image"] for record in listed}
    assert images == {46.1: str(world / "gallery" / "g0.jpg"), 44.2: None}

    monkeypatch.setattr(quick_start, "CANDIDATE_IMAGES", ["one.jpg"])
    with pytest.raises(SystemExit, match="3 CANDIDATE_COORDINATES, but 1 CANDIDATE_IMAGES"):
        run(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--image", "x.jpg", "--candidates", "c.csv", "--model_path", "a", "--latitude", "1"],
            "belong together",
        ),
        (["--dataset", "im2gps3k"], "needs --model_path"),
        (["--topn", "-1"], "--topn: -1: it is at least 0"),
        (["--merge_km", "nan"], "--merge_km: nan: it is at least 0"),
        (["--latitude", "1", "--longitude", "2"], "--latitude, --longitude: no use without --image"),
        (["--within", "25"], "--within: no use without --min_confidence"),
        (["--locations", "x.csv"], "--locations: no use without a folder"),
        (["--dataset", "im2gps3k", "--model_path", "a", "--split", "val"], "--split: no use with --dataset im2gps3k"),
        ([*OWN, "--query", "q.jpg"], "--query: no use with --image"),
        ([*OWN, "--query", "test_000437.jpg"], "--query: no use with --image"),  # the default, but given
        ([*OWN, "--topn_zs", "3", "--dataset", "earth"], "--dataset, --topn_zs: no use with --image"),
        ([*OWN, "--topn", "12", "--merge_km", "0"], "--topn, --merge_km: no use without --index or --retriever"),
        ([*OWN, "--generate", "2", "--topn", "12"], "--topn: no use without --index or --retriever"),
        ([*OWN, "--image_data_path", "g"], "--image_data_path: no use without --index"),
        ([*OWN, "--exclude_same_id"], "--exclude_same_id: no use without --index"),
        ([*OWN, "--geoclip", "g"], "--geoclip: no use without --retriever geoclip"),
        ([*OWN, "--generate", "2", "--base_url", "http://h"], "--base_url: no use without --model_name"),
        ([*OWN, "--model_name", "m"], "--model_name: no use without --generate"),
        ([*OWN, "--ranker", "consensus"], "--model_path: no use with --ranker consensus"),
        (["--image", "x.jpg", "--candidates", "c.csv", "--ranker", "model"], "--ranker model needs --model_path"),
        (["--image", "x.jpg", "--candidates", "c.csv", "--model", "m"], "--model: no use without --model_path or"),
        (
            ["--image", "x.jpg", "--ranker", "consensus", "--decode", "fused"],
            "--decode: no use with --ranker consensus",
        ),
        (["--image", "x.jpg", "--model_path", "a"], "nothing says where candidates come from"),
        (["--image", "x.jpg", "--generate", "3"], "--generate needs --model, or --model_name"),
        (["--image", "x.jpg", "--decode", "fused"], "--decode: no use where nothing says who decides"),
        (["--image", "x.jpg", "--quantize", "8bit"], "--quantize: no use where nothing says who decides"),
        (["--image", "x.jpg", "--candidates", "c.csv", "--quantize", "8bit"], "--quantize: no use without a model on"),
        (["--ranker", "consensus", "--quantize", "4bit"], "--quantize: no use with --ranker consensus"),
        (["--image", "x.jpg", "--merge_km", "1"], "--merge_km: no use"),
        (["--index", "i"], "--index: no use without --image"),
        (["--generate", "3"], "--generate: no use without --image"),
        (["--retriever", "geoclip"], "--retriever: no use without --image"),
        (["--image", "x.jpg", "--index", "i"], "--index needs --image_data_path"),
        (["--image", "x.jpg", "--index", "i", "--image_data_path", "g", "--topn", "0"], "leave no place to rank"),
        (["--topn", "0", "--topn_zs", "0"], "--topn and --topn_zs leave no place to rank"),
        ([*OWN, "--locations", "x.csv"], "--locations: no use with one photo"),
        ([*GALLERY, "--image", ".", "--map", "m.png"], "--map: no use with a folder"),
        ([*GALLERY, "--image", ".", "--latitude", "1"], "--latitude: no use with a folder"),
        ([*GALLERY, "--image", "x.jpg", "--topn_zs", "3"], "--topn_zs: no use with --image"),
        (
            ["--image", "x.jpg", "--candidates", "c", "--model_path", "a", "--latitude", "91", "--longitude", "2"],
            "--latitude 91.0 --longitude 2.0 is no coordinate",
        ),
        (["--locations", "places.geojson"], "its name ends in .csv"),
        (["--image", ""], "--image is empty"),
        (["--image", "https://host/x.jpg"], "--image https://host/x.jpg: it takes files of this machine; download"),
        (["--image", "caf\udce9.jpg"], "--image 'caf\\udce9.jpg': the name is not UTF-8"),
        (["--image", "x.jpg", "--retriever", "geoclip", "--decode", "fused"], "--decode: no use without --model_path"),
        (["--ranker", "consensus", "--model", "m"], "--model: no use with --ranker consensus"),
        (["--report", "photo.jpg"], "--report is photo.jpg: its name ends in .html"),
    ],
)
def test_impossible_flags(arguments, message, capsys):
    with pytest.raises(SystemExit):
        quick_start.parse_arguments(arguments)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("edited", "arguments", "message"),
    [
        ({"IMAGE": "x.jpg"}, ["--candidates", "c.csv", "--query", "q.jpg"], "--query: no use with --image (or IMAGE"),
        ({"QUERY": "q.jpg"}, OWN, "--query: no use with --image"),
        ({"TOPN": 5}, OWN, "--topn: no use without --index or --retriever"),
        ({"WITHIN_KM": 25}, [], "--within: no use without --min_confidence"),
        ({"CANDIDATE_COORDINATES": [(1, 2)]}, OWN, "CANDIDATE_COORDINATES: no use with --candidates"),
        ({"CANDIDATE_COORDINATES": [(1, 2)]}, [], "CANDIDATE_COORDINATES: no use without --image"),
        ({"CANDIDATE_IMAGES": ["a.jpg"]}, OWN, "CANDIDATE_IMAGES: no use without CANDIDATE_COORDINATES"),
    ],
)
def test_what_is_edited_in_counts_as_given(edited, arguments, message, monkeypatch, capsys):
    for name, value in edited.items():
        monkeypatch.setattr(quick_start, name, value)
    with pytest.raises(SystemExit):
        quick_start.parse_arguments(arguments)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("own", [False, True])
def test_a_damaged_georanker_json_is_named(own, tmp_path, capsys):
    (tmp_path / "georanker.json").write_text("{")
    arguments = ["--image", "x.jpg", "--candidates", "c.csv"] if own else []
    with pytest.raises(SystemExit):
        quick_start.parse_arguments([*arguments, "--model_path", str(tmp_path)])
    assert f"error: {tmp_path}/georanker.json: " in capsys.readouterr().err


def test_the_constants_name_the_embedded_world():
    args = quick_start.parse_arguments([])
    assert args.candidates == "dataset/earth/test/candidates.csv"
    assert (args.model, args.model_path) == ("checkpoints/earth-base", "checkpoints/earth")
    assert (args.query, args.topn, args.topn_zs) == ("test_000437.jpg", 12, 3)


def test_what_is_missing_is_named(world, tiny_base, own_photo, run):
    with pytest.raises(SystemExit, match=r"q99\.jpg is no usable query of .*candidates\.csv"):
        run(*flags(world, tiny_base), "--query", "q99.jpg")
    with pytest.raises(SystemExit, match=r"away\.csv does not exist.*--candidates"):
        run(*own_photo, "--candidates", "away.csv")
    with pytest.raises(SystemExit, match=r"photos/adapter_config\.json does not exist .*--model_path"):
        run(*own_photo, "--model_path", world / "photos")
