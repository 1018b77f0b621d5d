import shutil
import subprocess

import pytest

from earth import build_dataset
from earth.recipe import CALIBRATION_SPLITS
from earth.world import splits
from tests.commands import ROOT


def test_a_split_of_another_size_is_refused(small_earth):
    arguments = [
        "--output_dir",
        str(small_earth / "data"),
        "--gallery_size",
        "61",
        "--split_sizes",
        "10",
        "1",
        "5",
        "1",
    ]
    with pytest.raises(SystemExit, match=r"gallery has 60 pictures, not 61"):
        build_dataset.main(arguments)


def test_what_is_there_is_kept(small_earth, capsys):
    sizes = ["--gallery_size", "60", "--split_sizes", "10", "1", "5", "1"]
    before = {path: path.stat().st_mtime_ns for path in (small_earth / "data").rglob("*.csv")}
    assert build_dataset.main(["--output_dir", str(small_earth / "data"), *sizes, "--workers", "1"]) == 0
    assert {path: path.stat().st_mtime_ns for path in (small_earth / "data").rglob("*.csv")} == before
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("there already") == len(before) == 5


def test_calibration_splits_are_added(small_earth, tmp_path):
    copy = shutil.copytree(small_earth / "data", tmp_path / "data")
    sizes = ["--gallery_size", "60", "--split_sizes", "10", "1", "5", "1", "--calibration_sizes", "3", "2"]
    assert build_dataset.main(["--output_dir", str(copy), *sizes, "--workers", "1"]) == 0
    for split, size in (("calibration", 3), ("check", 2)):
        assert len(list(splits.read_centres(copy / split))) == len(list((copy / split / "images").iterdir())) == size


def made(target, world) -> str:
    """The commands that make would run in a checkout whose embedded world lies in ``world``."""
    command = ["make", "-n", f"EARTH={world}", target]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_make_builds_calibration_splits_on_demand_only(tmp_path):
    commands = made("calibration", tmp_path)
    assert "--calibration_sizes 5000 5000" in commands
    steps = ("retrieve_candidates.py search", "lvlm_zs_predict.py", "compile_prediction_candidates.py")
    for split in CALIBRATION_SPLITS:
        assert f"earth --split {split} " in commands
        assert f"--root_path {tmp_path / split} " in commands
    assert [commands.count(step) for step in steps] == [2, 2, 2]
    for target in ("demo", "earth-data", "earth-strong"):
        commands = made(target, tmp_path)
        assert "--calibration_sizes" not in commands
        assert not any(f"{tmp_path / split}" in commands for split in CALIBRATION_SPLITS)


@pytest.mark.parametrize(
    "flags",
    [
        ["--gallery_size", "0"],
        ["--split_sizes", "1", "1", "0", "1"],
        ["--calibration_sizes", "1", "0"],
        ["--workers", "0"],
    ],
)
def test_nonsense_sizes_are_refused(flags, capsys):
    with pytest.raises(SystemExit):
        build_dataset.main(flags)
    assert "at least 1" in capsys.readouterr().err
