import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import compile_prediction_candidates
import evaluate
import retrieve_candidates
from earth.recipe import SPLITS
from earth.studies import gallery_sizes, scaling
from earth.world import splits
from earth.world.imagery import load_earth
from utils.photos.store import ImageStore
from utils.tables.metadata import read_metadata

ROOT = Path(scaling.__file__).parents[2]
BASE, ADAPTER = ROOT / "checkpoints" / "earth-base", ROOT / "checkpoints" / "earth"
SIZES = (25, 60, 75, 90)  # one smaller than the built gallery, itself, and two that need one and two further parts


@pytest.fixture(scope="module")
def world(tmp_path_factory, few_resamples) -> Path:
    """A small Earth in ``data``, built and indexed by the README's commands."""
    folder = tmp_path_factory.mktemp("earth")
    splits.build(folder / "data", (60, 3, 3, 3, 5), seed=0, workers=1)
    gallery = folder / "data" / "gallery"
    flags = ["--gallery", gallery / "metadata.csv", "--image_data_path", gallery / "images.tar", "--model", BASE]
    flags += ["--index", gallery / "index", "--components", "8", "--workers", "0", "--device", "cpu"]
    assert retrieve_candidates.main(["build", *map(str, flags)]) == 0
    return folder


def run(world, *extra, sizes=SIZES):
    flags = ["--data", world / "data", "--run_dir", world / "run", "--output", world / "docs" / "scaling.json"]
    flags += ["--model", BASE, "--model_path", ADAPTER, "--workers", "1", "--device", "cpu", "--sizes", *sizes]
    assert scaling.main([*map(str, flags), *extra]) == 0
    return json.loads((world / "docs" / "scaling.json").read_text())


@pytest.fixture(scope="module")
def result(world):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gallery_sizes, "PART", 20)
        return run(world)


def test_all_sizes_are_measured_and_none_exceeds_its_bound(result):
    assert [entry["gallery"] for entry in result["sizes"]] == list(SIZES)
    nearest = [entry["rankers"]["nearest_gallery"] for entry in result["sizes"]]
    for entry, bound in zip(result["sizes"], nearest, strict=True):
        assert entry["num_queries"] == 5
        for name, figures in entry["rankers"].items():
            # The bound is a great-circle distance, the others are geodesic: 0.6% at most.
            assert figures["median_km"] >= 0.993 * bound["median_km"], name
            assert figures["median_km"] >= entry["rankers"]["oracle"]["median_km"] or name == "nearest_gallery"
    medians = [bound["median_km"] for bound in nearest]
    assert medians == sorted(medians, reverse=True)


def test_the_built_gallery_gives_what_the_commands_of_the_readme_give(world, result, monkeypatch):
    gallery, test = world / "data" / "gallery", world / "data" / "test"
    flags = ["--index", gallery / "index", "--queries", test / "metadata.csv", "--image_path", test / "images"]
    flags += ["--output_dir", test, "--workers", "0", "--device", "cpu"]
    assert retrieve_candidates.main(["search", *map(str, flags)]) == 0
    flags = ["--root_path", test, "--gallery", gallery / "metadata.csv"]
    assert compile_prediction_candidates.main(list(map(str, flags))) == 0
    flags = ["--candidates", test / "candidates.csv", "--image_path", test / "images", "--output_dir", world / "out"]
    flags += ["--image_data_path", gallery / "images.tar", "--model", BASE, "--model_path", ADAPTER]
    flags += ["--topn", "12", "--topn_zs", "0", "--device", "cpu"]
    monkeypatch.setattr("sys.argv", ["evaluate.py", *map(str, flags)])
    assert evaluate.main() == 0
    report = json.loads((world / "out" / "metrics.json").read_text())
    entry = result["sizes"][SIZES.index(60)]
    for name in gallery_sizes.RANKERS:
        assert entry["rankers"][name] == report["rankers"][name], name
    assert entry["paired_differences"] == report["paired_differences"]["model"]
    assert entry["calibration_error"] == pytest.approx(report["calibration_error"], abs=1e-4)


def test_further_tiles_are_new_clean_views(world, result):
    folders = [world / "data" / split for split in SPLITS]
    parts = sorted((world / "run").glob("*/further-*"))
    assert len(parts) == 2
    centres = [centre for folder in (*folders, *parts) for centre in splits.read_centres(folder)]
    assert len(set(centres)) == len(centres) == 60 + 3 + 3 + 3 + 5 + 2 * 20
    store = ImageStore.from_paths([part / "images.tar" for part in parts])
    for part in parts:
        for row in read_metadata(part / "metadata.csv").head(3).itertuples():
            shown = np.asarray(store.open(row.IMG_ID)).astype(float)
            assert np.abs(shown - load_earth().tile(row.LAT, row.LON)).mean() < 3  # JPEG


def test_what_is_measured_is_not_measured_again(world, result, monkeypatch, capsys):
    monkeypatch.setattr(gallery_sizes, "PART", 20)
    measure, measured = gallery_sizes.measure, []

    def noting(cases, ranker, gallery):
        measured.append(len(gallery))
        return measure(cases, ranker, gallery)

    monkeypatch.setattr(gallery_sizes, "measure", noting)
    assert run(world) == result
    assert "has all sizes" in capsys.readouterr().out
    assert [entry["gallery"] for entry in run(world, sizes=(30,))["sizes"]] == sorted([30, *SIZES])
    assert measured == [30]
    again = run(world, "--queries", "4", sizes=(60, 30))
    assert "other weights or settings" in capsys.readouterr().err
    assert [(entry["gallery"], entry["num_queries"]) for entry in again["sizes"]] == [(30, 4), (60, 4)]
    assert measured == [30, 30, 60]


def test_nonsense_is_refused(capsys):
    for flags in (["--sizes", "19"], ["--queries", "0"]):
        with pytest.raises(SystemExit):
            scaling.main(flags)
        assert "at least" in capsys.readouterr().err


def test_photos_added_to_the_gallery_change_nothing(world, result, tmp_path, monkeypatch):
    monkeypatch.setattr(gallery_sizes, "PART", 20)
    copy = shutil.copytree(world / "data", tmp_path / "data")
    flags = ["--index", copy / "gallery" / "index", "--gallery", copy / "train" / "metadata.csv"]
    flags += ["--image_data_path", copy / "train" / "images", "--model", BASE, "--workers", "0", "--device", "cpu"]
    assert retrieve_candidates.main(["add", *map(str, flags)]) == 0
    assert run(tmp_path, sizes=(75,))["sizes"] == [result["sizes"][SIZES.index(75)]]


def test_another_world_shares_nothing(world, result, tmp_path, monkeypatch):
    monkeypatch.setattr(gallery_sizes, "PART", 20)
    copy = shutil.copytree(world / "data", tmp_path / "data")
    metadata = pd.read_csv(copy / "test" / "metadata.csv")
    metadata["LAT"] = metadata["LAT"].to_numpy()[::-1]
    metadata.to_csv(copy / "test" / "metadata.csv", index=False)
    (known,) = (world / "run").iterdir()
    shutil.copytree(known, tmp_path / "run" / known.name)
    assert run(tmp_path, sizes=(25,))["made_of"]["world"] != result["made_of"]["world"]
    assert len(list((tmp_path / "run").iterdir())) == 2
