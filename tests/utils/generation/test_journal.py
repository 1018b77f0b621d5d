import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils.generation.journal import Journal

SETTINGS = {"model": "m", "temperature": 1.2}


def read(path: Path) -> dict[str, list[str]]:
    """What the next run finds."""
    with Journal(path, SETTINGS) as journal:
        return dict(journal)


def test_goes_on_after_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "answers.jsonl"
    with Journal(path, SETTINGS) as journal:
        journal.add("a", ["x\ny", "\u00e9"])
        journal.add("b", ["z"])
    assert dict(journal) == read(path) == {"a": ["x\ny", "\u00e9"], "b": ["z"]}
    path.write_bytes(path.read_bytes()[:-5])
    with Journal(path, SETTINGS) as torn:
        assert dict(torn) == {"a": ["x\ny", "\u00e9"]}
        torn.add("b", ["w"])
    assert read(path) == {"a": ["x\ny", "\u00e9"], "b": ["w"]}


@given(cut=st.integers(0, 200), long=st.integers(0, 70_000))
def test_wherever_it_was_torn(cut: int, long: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("journal") / "answers.jsonl"
    with Journal(path, SETTINGS) as journal:
        for name in "abc":
            journal.add(name, [name * 5])
        journal.add("long", ["x" * long])
    data = path.read_bytes()
    path.write_bytes(data[: -cut or None])
    ends = [match.start() for match in re.finditer(b"\n", data)]  # a record may lack its line break
    kept = max(0, sum(end <= len(data) - cut for end in ends) - 1)
    with Journal(path, SETTINGS) as again:
        assert list(again) == ["a", "b", "c", "long"][:kept]
        again.add("new", ["n"])
    assert list(read(path)) == [*again]
    assert again["new"] == ["n"]


def test_processes_write_side_by_side(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    with Journal(path, SETTINGS, 0) as first, Journal(path, SETTINGS, 1) as second:
        first.add("a", ["1"])
        second.add("b", ["2"])
        (tmp_path / "answers.jsonl.1").open("ab").write(b'{"IMG_ID": "c", "resp')
        assert dict(first) == {"a": ["1"]}
        first.read()
        assert dict(first) == {"a": ["1"], "b": ["2"]}
        with Journal(path, SETTINGS, 2) as third:  # while the others are at work
            assert dict(third) == dict(first)
        with pytest.raises(ValueError, match=r"answers\.jsonl\.1 is being written by process \d+ on "):
            Journal(path, SETTINGS, 1)
    assert read(path) == {"a": ["1"], "b": ["2"]}
    before = sorted(tmp_path.iterdir())
    message = (
        r"answers\.jsonl was made with other settings, model m, not n: remove it, or write to another --result_path"
    )
    with pytest.raises(ValueError, match=message):
        Journal(path, {**SETTINGS, "model": "n"}, 5)
    assert sorted(tmp_path.iterdir()) == before  # no file of other settings that would stop the next run


def test_damage_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "answers.jsonl"
    with Journal(path, SETTINGS) as journal:
        journal.add("a", ["1"])
    path.write_bytes(path.read_bytes() + b"what?\n")
    assert read(path) == {"a": ["1"]}
    assert f"{path}: line 3 is no JSON object and is skipped" in caplog.text
