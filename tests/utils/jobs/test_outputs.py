import os
import re
from pathlib import Path

import pytest

from utils.jobs.outputs import check_apart, check_outputs


def listing(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_missing_folders_are_made_and_nothing_else_is_left(tmp_path):
    (tmp_path / "old.json").write_text("kept")
    files = [("--output", tmp_path / "a" / "b" / "r.json"), ("--map", str(tmp_path / "old.json")), ("--none", None)]
    check_outputs(files, [("--output_dir", tmp_path / "c" / "d"), ("--none", None)])
    assert listing(tmp_path) == {"old.json", "a", "a/b", "c", "c/d"}
    assert (tmp_path / "old.json").read_text() == "kept"


# What is at fault: (whether a folder is to be written, its path, the system's words).
UNWRITABLE = {
    "the parent is a file": (False, "file/r.json", "Not a directory"),
    "a grandparent is a file": (False, "file/more/r.json", "Not a directory"),
    "a folder where the file should be": (False, "folder", "Is a directory"),
    "a file where the folder should be": (True, "file", "Not a directory"),
    "a file above the folder": (True, "file/more", "Not a directory"),
    # A file of this name could be made, but not the temporary one that becomes it.
    "too long a name": (False, "x" * 250 + ".json", "File name too long"),
    "too long a folder": (True, "x" * 300, "File name too long"),
    "a link into nowhere": (False, "link/r.json", "Not a directory"),
    "a place that takes no files": (False, "/proc/r.json", "No such file or directory|Permission denied"),
    "a folder that takes no files": (True, "/proc", "No such file or directory|Permission denied"),
}


@pytest.mark.parametrize("fault", UNWRITABLE)
def test_what_cannot_be_written_is_named_by_its_flag_and_its_own_name(fault, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    before = listing(tmp_path)
    is_folder, name, reason = UNWRITABLE[fault]
    path = tmp_path / name
    with pytest.raises(OSError, match=f"^--output: cannot be written: {re.escape(str(path))}: ({reason})$"):
        check_outputs(**{"folders" if is_folder else "files": [("--output", path)]})
    assert listing(tmp_path) == before


def test_a_file_that_may_not_be_written(tmp_path, monkeypatch):
    path = tmp_path / "kept.jsonl"
    path.touch()
    monkeypatch.setattr(os, "access", lambda *_: False)  # as for others than root
    with pytest.raises(OSError, match=r"^table: cannot be written: .*kept\.jsonl: Permission denied$"):
        check_outputs([("table", path)])


def test_what_is_read_is_not_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("q.csv").touch()
    Path("link.csv").symlink_to("q.csv")
    Path("hard.csv").hardlink_to("q.csv")
    inputs = [("gallery", None), ("queries", "q.csv"), ("index", "absent.csv")]
    check_apart([("--output", "out.csv"), ("--none", None)], inputs)
    for path, flag in [(tmp_path / "q.csv", "queries"), ("./link.csv", "queries"), ("hard.csv", "queries")]:
        with pytest.raises(ValueError, match=f"^--output: {path} is read, as {flag}, and would be overwritten"):
            check_apart([("--output", path)], inputs)
    with pytest.raises(ValueError, match="as index"):
        check_apart([("--output", "a/../absent.csv")], inputs)
