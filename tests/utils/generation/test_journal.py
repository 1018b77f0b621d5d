from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils.generation.journal import Journal

SETTINGS = {"model": "m", "temperature": 1.2}


def test_goes_on_after_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "answers.jsonl"
    journal = Journal(path, SETTINGS)
    journal.add("a", ["x\ny", "\u00e9"])
    journal.add("b", ["z"])
    assert dict(journal) == dict(Journal(path, SETTINGS)) == {"a": ["x\ny", "\u00e9"], "b": ["z"]}
    path.write_bytes(path.read_bytes()[:-5])
    torn = Journal(path, SETTINGS)
    assert dict(torn) == {"a": ["x\ny", "\u00e9"]}
    torn.add("b", ["w"])
    assert dict(Journal(path, SETTINGS)) == {"a": ["x\ny", "\u00e9"], "b": ["w"]}


@given(cut=st.integers(0, 200), long=st.integers(0, 70_000))
def test_wherever_it_was_torn(cut: int, long: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("journal") / "answers.jsonl"
    journal = Journal(path, SETTINGS)
    for name in "abc":
        journal.add(name, [name * 5])
    journal.add("long", ["x" * long])
    data = path.read_bytes()
    whole = data[: -cut or None]
    path.write_bytes(whole)
    kept = max(0, whole.count(b"\n") - 1)
    again = Journal(path, SETTINGS)
    assert list(again) == ["a", "b", "c", "long"][:kept]
    again.add("new", ["n"])
    assert list(Journal(path, SETTINGS)) == [*again]
    assert again["new"] == ["n"]


def test_processes_write_side_by_side(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    first, second = Journal(path, SETTINGS, 0), Journal(path, SETTINGS, 1)
    first.add("a", ["1"])
    second.add("b", ["2"])
    (tmp_path / "answers.jsonl.1").open("ab").write(b'{"IMG_ID": "c", "resp')
    assert dict(Journal(path, SETTINGS)) == {"a": ["1"], "b": ["2"]}
    with pytest.raises(ValueError, match=r"answers\.jsonl was made with other settings"):
        Journal(path, {**SETTINGS, "model": "n"}, 5)


def test_damage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    Journal(path, SETTINGS).add("a", ["1"])
    path.write_bytes(path.read_bytes() + b"what?\n")
    with pytest.raises(ValueError, match=r"answers\.jsonl: line 3: .*remove this line"):
        Journal(path, SETTINGS)
