"""Atomic writes."""

import json
import math
import os
import resource
import signal

import numpy as np
import pytest

from utils.jobs.files import atomic_path, move_files, remove_unfinished, write_array, write_json


def test_replaces_only_when_done(tmp_path):
    path = tmp_path / "deep" / "table.csv"
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
        assert (temporary.parent, temporary.suffix) == (path.parent, ".csv")
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def write_half(temporary):
    temporary.write_text("half of the new")
    raise KeyboardInterrupt


def test_interruption_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as temporary:
        write_half(temporary)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_interruption_before_anything_is_written(tmp_path):
    with pytest.raises(ZeroDivisionError), atomic_path(tmp_path / "table.csv") as temporary:
        temporary.write_text(str(1 / 0))
    assert list(tmp_path.iterdir()) == []


def test_files_are_moved_whole_and_in_order(tmp_path, monkeypatch):
    source, folder = tmp_path / "new", tmp_path / "folder"
    for path in (source, folder):
        path.mkdir()
    for name in ("b.json", "a.safetensors", "c.json"):
        (source / name).write_text(f"new {name}")
    (folder / "b.json").write_text("old")
    (folder / "other").write_text("stays")
    moved, replace = [], os.replace
    monkeypatch.setattr(os, "replace", lambda old, new: (moved.append(new.name), replace(old, new)))
    move_files(source, folder, last=".safetensors")
    assert sorted(moved[:2]) == ["b.json", "c.json"]
    assert moved[2] == "a.safetensors"
    assert not source.exists()
    assert {path.name: path.read_text() for path in folder.iterdir()} == {name: f"new {name}" for name in moved} | {
        "other": "stays"
    }


def test_json_is_text_that_reads_back(tmp_path):
    value = {"place": "Île-de-France, 東京", "degrees": [0.1 + 0.2, -1e-7], "nothing": None}
    write_json(tmp_path / "deep" / "value.json", value)
    text = (tmp_path / "deep" / "value.json").read_text(encoding="utf-8")
    assert json.loads(text) == value
    assert text.startswith('{\n  "place": "Île-de-France, 東京",\n')
    assert text.endswith("}\n")


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_has_not_leave_the_file_as_it_was(tmp_path, number):
    path = tmp_path / "value.json"
    path.write_text("old")
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"accuracy": [1.0, number]})
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize(
    "array", [np.arange(6, dtype=np.int64).reshape(2, 3), np.zeros((0, 4), np.float32), np.float16(3)]
)
def test_an_array_reads_back_as_numpy_saves_it(tmp_path, array):
    write_array(tmp_path / "ours.npy", np.asarray(array))
    np.save(tmp_path / "theirs.npy", array)
    assert (tmp_path / "ours.npy").read_bytes() == (tmp_path / "theirs.npy").read_bytes()


def test_a_full_disk_leaves_no_part_of_an_array(tmp_path):
    """As ``numpy.save`` does, which says nothing."""
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 5_000))
        try:
            write_array(tmp_path / "ours.npy", np.zeros(1_000))
        except OSError:
            os._exit(0)
        os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    assert list(tmp_path.iterdir()) == []


def test_what_killed_processes_left_is_removed(tmp_path):
    names = [".123.embeddings.npy", ".lock", ".keep.npy", "embeddings.npy", ".7.json"]
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / ".9.folder").mkdir()
    remove_unfinished(tmp_path, "npy")
    assert len(list(tmp_path.iterdir())) == 6
    remove_unfinished(tmp_path, "embeddings.npy")
    assert {path.name for path in tmp_path.iterdir()} == {*names[1:], ".9.folder"}
    remove_unfinished(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {".lock", ".keep.npy", "embeddings.npy", ".9.folder"}
