"""`--dataset osv5m`: the steps of dataset/README.md on a miniature, from the published files to the report."""

import json
from pathlib import Path

import numpy as np
import pytest

import compile_prediction_candidates
import evaluate
import lvlm_zs_predict
import retrieve_candidates
from tests.osv5m import row, write_photos, write_table
from tools import import_gallery
from utils.geography.osv5m_areas import LEVELS, areas_of
from utils.jobs import packages

PLACES = [(48.8566, 2.3522), (45.764, 4.8357), (52.52, 13.405), (-33.92, 18.42), (40.71, -74.0), (35.68, 139.69)]


def labelled(number, point):
    """A row with the labels of its own place, as the published tables have them."""
    labels = areas_of(np.array([point]))[0]
    return row(number, *point, **{f"unique_{level}": label for level, label in zip(LEVELS, labels, strict=True)})


@pytest.fixture(scope="module")
def osv5m(tmp_path_factory, tiny_base):
    """The data set below the folder, indexed and searched; each query shows a gallery photo, the last another's."""
    folder = tmp_path_factory.mktemp("osv5m")
    data = folder / "dataset" / "osv5m"
    data.mkdir(parents=True)
    rows = [labelled(number, point) for number, point in enumerate(PLACES)]
    # Photos are made of ids modulo 1,000: these are the same as those of the gallery.
    queries = [labelled(1000 + number, point) for number, point in enumerate(PLACES[:4])]
    queries[3] |= {"latitude": 45.7, "longitude": 4.8, "unique_city": ""}
    for split, table in (("train", rows), ("test", queries)):
        write_table(data / f"{split}.csv", table)
        write_photos(data / "images" / split, table)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for split in ("train", "test"):
            paths = [f"dataset/osv5m/{split}.csv", f"dataset/osv5m/{split}/metadata.csv"]
            assert import_gallery.main(["osv5m", *paths]) == 0
        build = "build --gallery dataset/osv5m/train/metadata.csv --image_data_path dataset/osv5m/images/train"
        search = "search --queries dataset/osv5m/test/metadata.csv --image_path dataset/osv5m/images/test --topk 3"
        for command in (f"{build} --model {tiny_base}", f"{search} --output_dir dataset/osv5m/test"):
            arguments = f"{command} --index dataset/osv5m/index --num_workers 0".split()
            assert retrieve_candidates.main(arguments) == 0
        table = ["--root_path", "dataset/osv5m/test", "--gallery", "dataset/osv5m/train/metadata.csv"]
        assert compile_prediction_candidates.main(table) == 0
    return folder


def report(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert evaluate.main(["--dataset", "osv5m", "--ranker", "retrieval"]) == 0
    return json.loads(Path("outputs/evaluate/osv5m/metrics.json").read_text())


def test_accuracy_at_distances_and_in_areas(osv5m, monkeypatch, capsys):
    """The last query finds a photo of the labels of its own row, far from where the row says that it lies."""
    metrics = report(osv5m, monkeypatch)
    assert metrics["rankers"]["retrieval"]["accuracy"] == {"1": 75, "25": 75, "200": 75, "750": 75, "2500": 75}
    shares = {level: area["accuracy"]["retrieval"] for level, area in metrics["areas"].items()}
    assert shares == {"country": 100, "region": 100, "sub-region": 100, "city": 100}
    assert [area["num_queries"] for area in metrics["areas"].values()] == [4, 4, 4, 3]
    assert "4 with a sub-region, 3 with a city" in capsys.readouterr().out


def test_rows_without_usable_areas_are_named(osv5m, monkeypatch, capsys):
    monkeypatch.chdir(osv5m)
    lines = Path("dataset/osv5m/test.csv").read_text().splitlines()
    lines[2] = ",".join(lines[2].split(",")[:3])
    Path("areas.csv").write_text("\n".join([*lines, lines[1]]))
    flags = ["--dataset", "osv5m", "--ranker", "retrieval", "--areas", "areas.csv", "--output_dir", "cut"]
    assert evaluate.main(flags) == 1
    err = capsys.readouterr().err
    assert "problem: areas.csv: row 1 (1000000000001001): fewer cells than columns; left out\n" in err
    assert "problem: areas.csv: row 4 (1000000000001000): a photo of this id was there before; left out\n" in err
    metrics = json.loads(Path("cut/metrics.json").read_text())
    assert [area["num_queries"] for area in metrics["areas"].values()] == [3, 3, 3, 2]


def test_without_the_package_the_areas_are_left_out(osv5m, monkeypatch, caplog, capsys):
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda name: None)
    assert "areas" not in report(osv5m, monkeypatch)
    needed = "accuracy by country, region, sub-region and city needs the package reverse_geocoder"
    assert needed in capsys.readouterr().err
    with pytest.raises(SystemExit):
        evaluate.main(["--dataset", "osv5m", "--ranker", "retrieval", "--areas", "dataset/osv5m/test.csv"])
    assert "areas needs the package reverse_geocoder: pip install -e '.[osv5m]'" in capsys.readouterr().err


def test_its_queries_can_be_guessed_for(osv5m, monkeypatch):
    monkeypatch.chdir(osv5m)
    args = lvlm_zs_predict.parse_arguments(["--dataset", "osv5m", "--model_name", "m"])
    assert (args.root_path / args.text_path).samefile("dataset/osv5m/test/metadata.csv")
    assert (args.root_path / args.image_path).samefile("dataset/osv5m/images/test")
    assert args.root_path.samefile("dataset/osv5m/test")  # where compile_prediction_candidates.py looks


def test_missing_files_tell_the_steps(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        evaluate.main(["--dataset", "osv5m", "--ranker", "retrieval"])
    message = str(stop.value.code)
    assert "hf download osv5m/osv5m --repo-type dataset" in message
    assert "python -m tools.import_gallery osv5m dataset/osv5m/test.csv dataset/osv5m/test/metadata.csv" in message
