import re
import shutil
import sys

import pytest
import reverse_geocode
import torch
from geopy.distance import geodesic
from transformers import AutoTokenizer
from transformers.models.auto.image_processing_auto import AutoImageProcessor

import quick_start_im2gps3k
from quick_start_im2gps3k import BEST, REWARDS, SAMPLE, SAMPLE_TABLE
from tests.naive import naive_rewards
from tests.released import merged_by_hand, saved_as_jpeg, write_adapter
from tests.world import GALLERY, build_world, flags
from utils.candidates import Candidate, Query
from utils.model.packing import Packer
from utils.photos.images import open_image
from utils.tables.candidate_table import CandidateRow, read_candidate_table, write_candidate_table

TRUTH = (46.167286, 7.099698)
OTHER = "another.jpg"


def place(number: int) -> Candidate:
    """The published best one stands fifth."""
    latitude, longitude = BEST if number == 4 else (40 + number / 4, 7.125)
    return Candidate(latitude, longitude, (f"city {number}", "state", "country"), f"g{number % GALLERY}.jpg")


PLACES = [place(number) for number in range(20)]


@pytest.fixture(scope="module")
def world(tmp_path_factory, tiny_base):
    """IM2GPS3K in miniature: the sample and another photo, 20 retrieved candidates each, a released adapter."""
    folder = tmp_path_factory.mktemp("world")
    build_world(folder, tiny_base)
    shutil.rmtree(folder / "adapter")
    write_adapter(folder / "adapter", tiny_base)
    rows = []
    for image_id, photo, places in ((SAMPLE, "q0.jpg", PLACES), (OTHER, "q1.jpg", PLACES[::-1])):
        shutil.copy(folder / "photos" / photo, folder / "photos" / image_id)
        rows.append(
            CandidateRow(
                image_id,
                *TRUTH,
                gps=[(candidate.latitude, candidate.longitude) for candidate in places],
                texts=[["here", c.texts[0], "county", c.texts[1], "", c.texts[2]] for c in places],
                images=[candidate.image for candidate in places],
                zs_gps=[(1.0, 2.0)],
            )
        )
    write_candidate_table(folder / "candidates.csv", rows)
    return folder


@pytest.fixture(scope="module")
def expected(world, tiny_base):
    """Rewards of the sample's first ten candidates, the naive way through the stock model."""
    model, head = merged_by_hand(tiny_base, world / "adapter")
    processor = AutoImageProcessor.from_pretrained(tiny_base, backend="pil")
    packer = Packer(AutoTokenizer.from_pretrained(tiny_base), processor, model.get_rope_index, "published")
    query = Query(SAMPLE, tuple(PLACES[:10]), tuple(PLACES[15:]))
    photos = {SAMPLE: open_image(world / "photos" / SAMPLE)}
    gallery = [world / "gallery" / f"g{number}.jpg" for number in range(10)]
    photos |= {path.name: saved_as_jpeg(open_image(path)) for path in gallery}
    with torch.no_grad():
        return naive_rewards(model, lambda hidden: head @ hidden, packer, [query], photos).tolist()


@pytest.fixture
def run(world, tiny_base, monkeypatch, capsys):
    """``run(*flags)``: exit code, the printed table as lists of words, and all that was printed."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["quick_start_im2gps3k.py", *flags(world, tiny_base), *map(str, arguments)])
        code = quick_start_im2gps3k.main()
        printed = capsys.readouterr()
        lines = re.findall(r"^ +\*?\d.*$", printed.out, flags=re.MULTILINE)
        return code, [line.split() for line in lines], printed

    return run


def best_line(candidate: Candidate) -> str:
    distance = geodesic(TRUTH, (candidate.latitude, candidate.longitude)).km
    return f"Best: {candidate.latitude:.6f}, {candidate.longitude:.6f}, {distance:.2f} km from the truth"


def test_the_sample_on_another_base_is_shown_beside_the_published_rewards(run, expected):
    code, lines, printed = run()
    assert code == 0
    best = max(range(10), key=expected.__getitem__)
    for number, (line, reward) in enumerate(zip(lines, expected, strict=True)):
        assert line[0] == ("*" if number == best else "") + str(number + 1)
        assert line[1:3] == [f"{PLACES[number].latitude:.6f}", f"{PLACES[number].longitude:.6f}"]
        assert float(line[3]) == pytest.approx(reward, abs=0.0051)
        assert float(line[4]) == REWARDS[number]
        assert float(line[5]) == pytest.approx(reward - REWARDS[number], abs=0.0051)
        assert " ".join(line[6:]) == f"city {number}, state, country"
    assert best_line(PLACES[best]) in printed.out
    assert "Published: 44.173955, 6.697883, 223.77 km from the truth" in printed.out
    assert "The rewards do not agree with the published ones" in printed.out
    assert "another base model" in printed.out


def test_the_published_distance_is_the_geodesic_one():
    assert geodesic(TRUTH, BEST).km == pytest.approx(quick_start_im2gps3k.BEST_KM, abs=0.005)


@pytest.mark.parametrize(("shift", "code"), [(0.2, 0), (-0.2, 0), (0.3, 1)])
def test_on_the_published_base_the_rewards_must_agree(run, expected, monkeypatch, shift, code):
    """The miniature plays the published base; all rewards but one are published as they are."""
    published = [round(reward, 2) for reward in expected]
    best = PLACES[max(range(10), key=published.__getitem__)]
    published[published.index(min(published))] += shift
    monkeypatch.setattr(quick_start_im2gps3k, "BASE", ("qwen2_vl", 2, 32))
    monkeypatch.setattr(quick_start_im2gps3k, "REWARDS", tuple(published))
    monkeypatch.setattr(quick_start_im2gps3k, "BEST", (best.latitude, best.longitude))
    exit_code, _, printed = run()
    assert exit_code == code
    if code == 0:
        assert "The rewards agree with the published ones" in printed.out
        assert "another base" not in printed.out
    else:
        assert "problem: the rewards do not agree with the published ones" in printed.err
        assert "the largest difference is 0.30, the tolerance 0.25" in printed.err


def test_nan_agrees_with_nothing():
    (problem,) = quick_start_im2gps3k.compare({0: 1.0, 1: float("nan")}, {0: 1.0, 1: 1.0}, same_base=True)
    assert "do not agree" in problem


def test_published_rewards_are_bfloat16_numbers():
    """The tolerance builds on it: each is a multiple of 1/32, rounded to two digits."""
    for reward in REWARDS:
        number = round(32 * reward) / 32
        assert abs(number - reward) < 0.0051
        assert torch.tensor(number).bfloat16().item() == number
        assert torch.tensor(number + 1 / 64).bfloat16().item() != number + 1 / 64


def test_another_query_has_no_published_rewards(run):
    code, lines, printed = run("--query", OTHER)
    assert code == 0
    assert [" ".join(line[4:]) for line in lines] == [f"city {19 - number}, state, country" for number in range(10)]
    assert "ublished" not in printed.out
    assert re.search(rf"{re.escape(OTHER)}, taken at 46\.167286, 7\.099698\n", printed.out)


def test_the_sample_with_other_candidates_is_a_problem(run, world, tmp_path):
    table = (world / "candidates.csv").read_text().replace(str(BEST), "(44.2, 6.7)")
    (tmp_path / "other.csv").write_text(table)
    code, lines, printed = run("--candidates", tmp_path / "other.csv")
    assert code == 1
    assert len(lines) == 10
    assert "other.csv: the first candidates of" in printed.err
    assert "ublished:" not in printed.out


def test_an_unreadable_candidate_costs_only_itself(run, world, tmp_path):
    shutil.copytree(world / "gallery", tmp_path / "gallery")
    (tmp_path / "gallery" / "g2.jpg").write_bytes(b"no photo")
    code, lines, printed = run("--image_data_path", tmp_path / "gallery")
    assert code == 1
    assert [line[0].strip("*") for line in lines] == [str(number + 1) for number in range(10) if number != 2]
    assert [float(line[4]) for line in lines] == [reward for i, reward in enumerate(REWARDS) if i != 2]
    assert re.search(r"problem: .*g2\.jpg.*place left out", printed.err)


def test_what_is_missing_is_named(run, capsys):
    with pytest.raises(SystemExit, match=r"q99\.jpg is no usable query of .*candidates\.csv"):
        run("--query", "q99.jpg")
    with pytest.raises(SystemExit, match=r"away/adapter_config.json does not exist.*--model_path"):
        run("--model_path", "away")
    with pytest.raises(SystemExit):
        quick_start_im2gps3k.parse_arguments([])
    assert "--model_path is missing" in capsys.readouterr().err


def test_a_damaged_georanker_json_is_named(tmp_path, capsys):
    (tmp_path / "georanker.json").write_text("{")
    with pytest.raises(SystemExit):
        quick_start_im2gps3k.parse_arguments(["--model_path", str(tmp_path)])
    assert f"error: {tmp_path}/georanker.json: " in capsys.readouterr().err


def test_defaults_are_those_of_the_published_sample():
    args = quick_start_im2gps3k.parse_arguments(["--model_path", "path_to_lora"])
    assert args.query == "103433117_266c57c2e6_29_73293249@N00.jpg"
    assert args.model == "Qwen/Qwen2-VL-7B-Instruct"


def test_which_table_is_read(tmp_path, monkeypatch):
    """The one that is named, else the benchmark's; without it the sample, and only the sample, has its own row."""

    def table(*flags):
        return quick_start_im2gps3k.parse_arguments(["--model_path", "path_to_lora", *flags]).candidates

    monkeypatch.chdir(tmp_path)
    assert table() == str(SAMPLE_TABLE)
    assert table("--query", OTHER) == "dataset/im2gps3k/im2gps3k.csv"
    assert table("--candidates", "away.csv") == "away.csv"
    (tmp_path / "dataset" / "im2gps3k").mkdir(parents=True)
    (tmp_path / "dataset" / "im2gps3k" / "im2gps3k.csv").touch()
    assert table() == "dataset/im2gps3k/im2gps3k.csv"


def test_the_sample_has_its_own_row():
    (query,), problems = read_candidate_table(SAMPLE_TABLE, 20, 5)
    assert problems == []
    assert (query.image, query.latitude, query.longitude) == (SAMPLE, *TRUTH)
    assert len({place.image for place in query.candidates}) == len(query.candidates) == 20
    first = query.candidates[:10]
    assert quick_start_im2gps3k.is_published(first)
    assert geodesic(TRUTH, BEST).km == geodesic(TRUTH, (first[4].latitude, first[4].longitude)).km
    assert query.negatives == query.candidates[15:]
    # Names and places belong together; one place lies on the ridge of the Pyrenees, its nearest town in France.
    towns = reverse_geocode.search([(place.latitude, place.longitude) for place in query.candidates])
    countries = [(place.texts[-1], town["country"]) for place, town in zip(query.candidates, towns, strict=True)]
    assert [pair for pair in countries if pair[0] != pair[1]] == [("Spain", "France")]


def test_the_sample_runs_from_its_photos_alone(world, tiny_base, tmp_path, monkeypatch, capsys):
    (query,), _ = read_candidate_table(SAMPLE_TABLE, 10, 0)
    for number, place in enumerate(query.candidates):
        shutil.copy(world / "gallery" / f"g{number}.jpg", tmp_path / place.image)
    shutil.copy(world / "photos" / SAMPLE, tmp_path / SAMPLE)
    monkeypatch.chdir(tmp_path)
    arguments = ["--image_path", ".", "--image_data_path", ".", "--model", str(tiny_base), "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["quick_start_im2gps3k.py", *arguments, "--model_path", str(world / "adapter")])
    assert quick_start_im2gps3k.main() == 0
    printed = capsys.readouterr()
    assert f"candidates: {SAMPLE_TABLE}" in printed.err
    assert f"{SAMPLE}, taken at 46.167286, 7.099698" in printed.out
    lines = re.findall(r"^ +\*?\d.*$", printed.out, flags=re.MULTILINE)
    assert [float(line.split()[4]) for line in lines] == list(REWARDS)
