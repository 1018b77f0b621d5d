"""Missing files: all named at once, each with commands that today's tools take."""

import shlex
import sys
from pathlib import Path

import pytest
from huggingface_hub.cli import download, hf

from utils.data_paths import (
    ADAPTER,
    BENCHMARKS,
    PUBLISHED_METADATA,
    PUBLISHED_PHOTOS,
    PUBLISHED_ROWS,
    SOURCES,
    absence,
    check_files,
    source,
)

ROOT = Path(__file__).parent.parent.parent


def test_all_that_is_missing_is_named_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("here.csv").touch()
    files = [
        ("candidates", "dataset/im2gps3k/im2gps3k.csv"),
        ("image_path", "here.csv"),
        ("image_data_path", "mine.tar"),
        ("tar_index_path", None),
        ("dataset", "dataset/georanking"),
    ]
    with pytest.raises(FileNotFoundError) as stop:
        check_files(files)
    lines = str(stop.value).splitlines()
    assert [line for line in lines if not line.startswith(" ")] == [
        "dataset/im2gps3k/im2gps3k.csv does not exist (or say with --candidates where it lies): "
        "candidate table of IM2GPS3K",
        "mine.tar does not exist (or say with --image_data_path where it lies)",
        "dataset/georanking does not exist (or say with --dataset where it lies): GeoRanking, the training rows",
    ]
    assert sum("git clone" in line for line in lines) == 1, "what fetches several files is told once"
    check_files([("candidates", "here.csv"), ("gallery", None)])
    with pytest.raises(FileNotFoundError, match=r"^mine\.tar does not exist$"):  # no flag: it stands by its position
        check_files([(None, "mine.tar")])


def test_every_published_path_has_a_source():
    published = [BENCHMARKS["im2gps3k"], BENCHMARKS["yfcc4k"]]
    paths = [path for one in published for path in (one.candidates, one.image_path, one.image_data_path)]
    for path in [*paths, PUBLISHED_PHOTOS, PUBLISHED_METADATA, PUBLISHED_ROWS]:
        assert source(Path(path)) is not None, path
    earth = BENCHMARKS["earth"]
    for path in (earth.candidates, earth.image_path, earth.image_data_path, earth.gallery_metadata):
        assert "make demo" in "\n".join(absence(path.format(split="test")))
    for split in ("calibration", "check"):
        path = earth.candidates.format(split=split)
        assert absence(path) == [f"{path} does not exist: part of the embedded world", "    make calibration"]


def test_of_the_embedded_world_are_only_files_that_its_build_makes():
    made = [f"{split}/images" for split in ("pretrain", "train", "val", "test")]
    made += [
        "",
        "test",
        "test/images/test_000289.jpg",
        "test/S.npy",
        "gallery/index/index.json",
        "val/georanking.parquet",
    ]
    never = ["mine", "test/metadata.ledger.csv", "test/yfcc4k_places365.csv", "test/yfcc4k", "test/georanking.parquet"]
    never += [
        "test/images/photo.jpg",
        "test/images/val_000001.jpg",
        "test/candidates.csv/x",
        "check/metadata.ledger.csv",
    ]
    for path in made:
        assert "make demo" in "\n".join(absence(Path("dataset/earth", path))), path
    for path in never:
        assert absence(f"dataset/earth/{path}") == [f"dataset/earth/{path} does not exist"]


def test_what_is_no_adapter():
    for name in ("adapter_config.json", "model.safetensors"):
        path = f"checkpoints/earth/{name}"
        assert absence(path) == [f"{path} does not exist: part of this repository", "    git checkout -- checkpoints"]
    path = "checkpoints/earth-base/adapter_config.json"
    first, *_ = absence(path)
    assert first.startswith(f"{path} does not exist: checkpoints/earth-base is no adapter; ")
    assert absence("checkpoints/earth-base/georanker.json") == ["checkpoints/earth-base/georanker.json does not exist"]


def test_the_layout_may_lie_elsewhere():
    assert absence("/data/yfcc4k/yfcc4k_places365.csv") == [
        "/data/yfcc4k/yfcc4k_places365.csv does not exist: coordinates of the YFCC4K photos",
        "    hf download Jia-py/G3-checkpoint yfcc4k_places365.csv --local-dir /data/yfcc4k",
    ]


def test_the_readme_names_every_file():
    readme = (ROOT / "dataset" / "README.md").read_text()
    for path in SOURCES:
        assert f"`{path.removeprefix('dataset/')}" in readme, path


def test_the_hub_commands_are_those_of_the_installed_client(monkeypatch):
    """Run by the real command line of huggingface_hub, with its two download functions replaced."""
    calls = []
    for name in ("hf_hub_download", "snapshot_download"):
        monkeypatch.setattr(download, name, lambda **call: calls.append(call) or "done")
    commands = [command for known in (*SOURCES.values(), ADAPTER) for command in known.fetch]
    for command in dict.fromkeys(commands):
        if command.startswith("hf download"):
            monkeypatch.setattr(sys, "argv", shlex.split(command.format(folder="some/folder")))
            with pytest.raises(SystemExit) as stop:
                hf.main()
            assert stop.value.code == 0
    found = {(call["repo_type"], call["repo_id"], call.get("filename")) for call in calls}
    assert found == {
        ("model", "Jia-py/G3-checkpoint", "im2gps3k_places365.csv"),
        ("model", "Jia-py/G3-checkpoint", "yfcc4k_places365.csv"),
        ("dataset", "Jia-py/MP16-Pro", "metadata/MP16_Pro_filtered.csv"),
        ("dataset", "Jia-py/MP16-Pro", None),
    }
    assert all(str(call["local_dir"]) == "some/folder" for call in calls)
