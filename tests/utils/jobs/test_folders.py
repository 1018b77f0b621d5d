import os
from pathlib import Path

import pytest

from utils.jobs.folders import whole_folder


def contents(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


@pytest.mark.parametrize("kind", ["new", "empty", "link"])
def test_a_folder_is_there_whole(tmp_path, kind):
    folder = tmp_path / "made"
    if kind != "new":
        (tmp_path / "held").mkdir()
        folder.symlink_to("held") if kind == "link" else (tmp_path / "held").rename(folder)
    with whole_folder(folder) as scratch:
        (scratch / "file").write_text("x")
        assert not (folder / "file").exists()
    assert (folder / "file").read_text() == "x"
    assert folder.is_symlink() == (kind == "link")
    assert contents(tmp_path) == sorted({"made", *(["held"] if kind == "link" else [])})


def test_what_fails_or_was_killed_leaves_nothing(tmp_path):
    (tmp_path / ".4711.made").mkdir()
    (tmp_path / ".4711.made" / "half").write_text("of one that was killed")
    (tmp_path / ".4711.other").mkdir()
    (tmp_path / ".4712.made").touch()
    with pytest.raises(FileNotFoundError), whole_folder(tmp_path / "made") as scratch:
        (scratch / "nowhere" / "file").write_text("x")
    assert contents(tmp_path) == [".4711.other", ".4712.made"]


def test_what_cannot_be_replaced_is_refused_before_any_work(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    (tmp_path / "loop").symlink_to("loop")
    for taken in (tmp_path / "file", tmp_path / "loop", tmp_path):
        with pytest.raises(FileExistsError, match="folder: name a new one"), whole_folder(taken):
            raise AssertionError
    assert sorted(os.listdir(tmp_path)) == ["file", "loop"], "no lock is left"
    (tmp_path / "mounted").mkdir()
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path).name == "mounted")
    with pytest.raises(ValueError, match="mounted is a mount point"), whole_folder(tmp_path / "mounted"):
        raise AssertionError
