import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils.generation.journal import Journal, Reply

SETTINGS = {"model": "m", "temperature": 1.2}


def read(path: Path) -> dict[str, list[str]]:
    """What the next run finds."""
    with Journal(path, SETTINGS, 200) as journal:
        return dict(journal)


def test_goes_on_after_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "answers.jsonl"
    with Journal(path, SETTINGS, 200) as journal:
        journal.add(Reply("a", ("x\ny", "\u00e9")))
        journal.add(Reply("b", ("z",)))
    assert dict(journal) == read(path) == {"a": ["x\ny", "\u00e9"], "b": ["z"]}
    path.write_bytes(path.read_bytes()[:-5])
    with Journal(path, SETTINGS, 200) as torn:
        assert dict(torn) == {"a": ["x\ny", "\u00e9"]}
        torn.add(Reply("b", ("w",)))
    assert read(path) == {"a": ["x\ny", "\u00e9"], "b": ["w"]}


@given(cut=st.integers(0, 200), long=st.integers(0, 70_000))
def test_wherever_it_was_torn(cut: int, long: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("journal") / "answers.jsonl"
    with Journal(path, SETTINGS, 200) as journal:
        for name in "abc":
            journal.add(Reply(name, (name * 5,)))
        journal.add(Reply("long", ("x" * long,)))
    data = path.read_bytes()
    path.write_bytes(data[: -cut or None])
    ends = [match.start() for match in re.finditer(b"\n", data)]  # a record may lack its line break
    kept = max(0, sum(end <= len(data) - cut for end in ends) - 1)
    with Journal(path, SETTINGS, 200) as again:
        assert list(again) == ["a", "b", "c", "long"][:kept]
        again.add(Reply("new", ("n",)))
    assert list(read(path)) == [*again]
    assert again["new"] == ["n"]


def test_processes_write_side_by_side(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    with Journal(path, SETTINGS, 200, 0) as first, Journal(path, SETTINGS, 200, 1) as second:
        first.add(Reply("a", ("1",)))
        second.add(Reply("b", ("2",)))
        (tmp_path / "answers.jsonl.1").open("ab").write(b'{"IMG_ID": "c", "resp')
        assert dict(first) == {"a": ["1"]}
        first.read()
        assert dict(first) == {"a": ["1"], "b": ["2"]}
        with Journal(path, SETTINGS, 200, 2) as third:  # while the others are at work
            assert dict(third) == dict(first)
        with pytest.raises(ValueError, match=r"answers\.jsonl\.1 is being written by process \d+ on "):
            Journal(path, SETTINGS, 200, 1)
    assert read(path) == {"a": ["1"], "b": ["2"]}
    before = sorted(tmp_path.iterdir())
    message = (
        r"answers\.jsonl was made with other settings, model m, not n: remove it, or write to another --result_path"
    )
    with pytest.raises(ValueError, match=message):
        Journal(path, {**SETTINGS, "model": "n"}, 200, 5)
    assert sorted(tmp_path.iterdir()) == before  # no file of other settings that would stop the next run


def test_damage_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "answers.jsonl"
    with Journal(path, SETTINGS, 200) as journal:
        journal.add(Reply("a", ("1",)))
    path.write_bytes(path.read_bytes() + b"what?\n")
    assert read(path) == {"a": ["1"]}
    assert f"{path}: line 3 is no JSON object and is skipped" in caplog.text


CUT = Reply("cut", ("(1.5, 2.5). It is", "(1.5, 2.5", "", "(3.5, 4.5)"), cut=(0, 1, 2))
WHOLE = ["(1.5, 2.5). It is", "", "(3.5, 4.5)"]


def test_answers_that_were_cut_off_are_kept_and_asked_for_again_with_more_tokens(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    with Journal(path, SETTINGS, 20) as journal:
        journal.add(CUT)
        journal.add(Reply("a", ("",)))
        assert dict(journal) == {"cut": WHOLE, "a": [""]}
        assert [journal.lacks(name) for name in ("cut", "a", "never asked")] == [False, False, True]
    with Journal(path, SETTINGS, 19) as fewer:
        assert [fewer.lacks(name) for name in ("cut", "a")] == [False, False]
    with Journal(path, SETTINGS, 21) as more:
        assert [more.lacks(name) for name in ("cut", "a")] == [True, False]
        assert more.reply("cut") == CUT
        more.add(Reply("cut", ("(5.5, 6.5)",)))
        assert not more.lacks("cut")
    with Journal(path, SETTINGS, 1000) as last:
        assert dict(last) == {"cut": ["(5.5, 6.5)"], "a": [""]}
        assert not last.lacks("cut")


@pytest.mark.parametrize(("first", "second"), [(0, 1), (1, 0)])
def test_the_record_with_more_tokens_counts_whatever_file_it_is_in(tmp_path: Path, first: int, second: int) -> None:
    path = tmp_path / "answers.jsonl"
    with Journal(path, SETTINGS, 20, first) as journal:
        journal.add(CUT)
    with Journal(path, SETTINGS, 40, second) as journal:
        journal.add(Reply("cut", ("still", "cut"), cut=(1,)))
    for tokens, lacks in ((40, False), (41, True)):
        with Journal(path, SETTINGS, tokens, 2) as journal:
            assert journal.reply("cut").answers == ("still", "cut")
            assert journal.lacks("cut") == lacks


def test_older_journals_have_the_token_limit_among_their_settings(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    old = {"model": "m", "max_tokens": 20, "temperature": 1.2}
    path.write_text(f'{json.dumps(old)}\n{{"IMG_ID":"a","response":["(1.5, 2.5",""]}}\n')
    with Journal(path, SETTINGS, 200) as journal, Journal(path, SETTINGS, 200, 1) as second:
        assert not journal.lacks("a")  # nothing is known of why it ended
        assert journal["a"] == ["(1.5, 2.5", ""]
        journal.add(Reply("b", ("(3.5, 4.5)",)))
        second.add(CUT)
    with Journal(path, SETTINGS, 200) as journal:
        assert dict(journal) == {"a": ["(1.5, 2.5", ""], "b": ["(3.5, 4.5)"], "cut": WHOLE}
    assert json.loads(path.read_text().splitlines()[0]) == old
    with pytest.raises(ValueError, match=r"made with other settings, model m, not n: remove it"):
        Journal(path, {**SETTINGS, "model": "n"}, 20)


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        ('{"latitude": 46.17, "longitude": 7.1', False),
        ('{"latitude": 46.17, "longitude": 7.10}', True),
        ('{"latitude": 46.17, "longi', True),  # names none
        ("(46.17, 7.10)", True),
        ("46.17, 7.1", False),
        ("46.17\u00b0 N, 7.10\u00b0", True),  # names none
        ("latitude 46.17\u00b0, longitude 7.10\u00b0 ", False),
        ("46\u00b010'12\" N, 7\u00b06' E, by", True),
        ("46.17 N, 7.10 W, near Les Diablerets in", True),
        ("(46.17, 7.10), taken in 19", True),
        ("It lies", True),
        ("", True),
    ],
)
def test_a_place_at_the_end_of_an_answer_that_was_cut_off_is_not_whole(answer: str, kept: bool) -> None:
    assert Reply("a", (answer,), cut=(0,)).whole == [answer] * kept
    assert Reply("a", (answer,)).whole == [answer]
