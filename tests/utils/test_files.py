"""Atomic writes."""

import pytest

from utils.files import atomic_path


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
