import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub.constants
import pytest

from utils.retrieval.clip_files import CLIP, FILES, fetched_clip, local_clip
from utils.retrieval.geoclip_files import Release, is_available

COMMIT = "32bd64288804d66eefd0ccbe215aa642df71cc41"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, which cannot be reached."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def fill(hub: Path, name: str = CLIP, revision: str = "main", files: tuple[str, ...] = FILES) -> Path:
    """The files of a repository as the hub's client keeps them; returns their folder."""
    repository = hub / f"models--{name.replace('/', '--')}"
    folder = repository / "snapshots" / COMMIT
    folder.mkdir(parents=True, exist_ok=True)
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / revision).write_text(COMMIT)
    for file in files:
        (folder / file).touch()
    return folder


def without_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)


def test_clip_in_the_cache_of_the_hub_needs_no_network(hub, geoclip_release) -> None:
    assert not is_available()
    assert local_clip(CLIP) is None
    fill(hub, files=FILES[:2])
    assert not is_available()  # the weights are still missing
    folder = fill(hub)
    assert is_available()
    assert fetched_clip(CLIP) == folder
    assert not is_available(geoclip_release)  # it wants another revision
    fill(hub, revision="r1")
    assert is_available(geoclip_release)


def test_a_folder_does_instead_of_the_hub(hub, geoclip_release, tmp_path) -> None:
    assert is_available(clip=tmp_path)
    assert is_available(geoclip_release, tmp_path)
    assert fetched_clip(str(tmp_path)) == tmp_path
    assert not is_available(tmp_path, tmp_path)  # no release
    assert not is_available(clip=tmp_path / "absent")
    fill(hub, "my/clip")
    assert is_available(clip="my/clip")


def test_without_the_package_nothing_is_available(tmp_path, monkeypatch) -> None:
    without_package(monkeypatch)
    assert not is_available(clip=tmp_path)
    with pytest.raises(ValueError, match="GeoCLIP needs the package geoclip: pip install --no-deps geoclip"):
        Release.of()


def test_a_folder_called_geoclip_is_not_the_package(monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: SimpleNamespace(origin=None))
    assert not is_available(clip=".")


def test_a_release_says_what_it_is_made_of(geoclip_release) -> None:
    found = Release.of(geoclip_release)
    assert found.points == geoclip_release / "points.csv"
    assert (found.clip, found.revision, found.sigma) == (CLIP, "r1", (1, 16, 256))
    with pytest.raises(FileNotFoundError, match=r"tests is no release of GeoCLIP: it has no config\.json"):
        Release.of("tests")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model_type": "clip"}, "model_type 'clip', format_version 1: a release of GeoCLIP has"),
        ({"format_version": 2}, "model_type 'geoclip-geolocation', format_version 2: a release"),
        ({"format_version": True}, "format_version cannot be True"),
        ({"gallery_file": "../points.csv"}, r"gallery_file is '\.\./points\.csv': it must be a CSV file of the folder"),
        ({"gallery_file": "points.txt"}, "gallery_file is 'points.txt'"),
        ({"sigma": 1}, "sigma cannot be 1"),
        ({"sigma": ["1"]}, "sigma cannot be '1'"),
        ({"sigma": [10**400]}, "int too large to convert to float"),
        ({"backbone": {}}, "repo_id cannot be None"),
        ({"backbone": {"repo_id": "a/b", "revision": 3}}, "revision cannot be 3"),
    ],
)
def test_damaged_settings_are_named(geoclip_release, tmp_path, settings, message) -> None:
    shutil.copytree(geoclip_release, tmp_path / "release")
    path = tmp_path / "release" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    with pytest.raises(ValueError, match=rf"release/config\.json: {message}"):
        Release.of(tmp_path / "release")


def test_missing_settings_are_named(geoclip_release, tmp_path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "geoclip-geolocation", "sigma": [1]}')
    with pytest.raises(ValueError, match=r"config\.json: backbone, format_version, gallery_file is missing"):
        Release.of(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json: "):
        Release.of(tmp_path)
