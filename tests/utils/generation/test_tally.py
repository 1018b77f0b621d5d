import pytest

from utils.cli.logs import set_up_logging
from utils.generation.journal import Journal, Reply
from utils.generation.tally import Tally, summary
from utils.jobs.processes import Processes, SharedWork

NAMES = ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]


@pytest.fixture
def journal(tmp_path):
    with Journal(tmp_path / "answers.jsonl", {"model": "m"}, 200) as journal:
        yield journal


def tally_of(journal: Journal) -> Tally:
    return Tally(journal, len(NAMES), SharedWork(NAMES, Processes(), "photos"))


def test_replies_are_kept_and_counted_as_they_arrive(journal):
    tally = tally_of(journal)
    tally.take(Reply("a.jpg", ("somewhere", ""), tokens=12_000))
    tally.take(Reply("b.jpg", problem="b.jpg: no such photo"))
    tally.take(Reply("c.jpg", ("", ""), tokens=4_000))
    assert dict(journal) == {"a.jpg": ["somewhere", ""], "c.jpg": ["", ""]}
    assert tally.problems == ["b.jpg: no such photo"]
    assert (tally.answered, tally.refused, tally.tokens) == (2, 1, 16_000)
    # The four photos would cost 8,000 tokens each.
    assert tally.bar.postfix == "1 failed, 1 refused, 16.0k of about 32.0k tokens"


def test_what_the_token_limit_cut_off_is_no_refusal(journal):
    tally = tally_of(journal)
    tally.take(Reply("a.jpg", ("", ""), cut=(0, 1)))
    tally.take(Reply("b.jpg", ("", "no idea")))
    tally.take(Reply("c.jpg", ("", "")))
    assert tally.bar.postfix == "0 failed, 1 refused, 2 answers cut off"


def test_what_costs_no_tokens_names_none(journal):
    tally = tally_of(journal)
    tally.take(Reply("a.jpg", ("somewhere",)))
    assert tally.bar.postfix == "0 failed, 0 refused"


@pytest.mark.usefixtures("unset_logging")
def test_the_bar_shows_how_far_all_processes_are(journal, capsys):
    set_up_logging()
    tally = tally_of(journal)
    tally.work.finish(2)  # by others
    tally.take(Reply("a.jpg", ("somewhere",)))
    assert tally.bar.n == 3
    tally.bar.close()
    assert "asking:  75%" in capsys.readouterr().err


def test_summary():
    replies = [
        Reply("a", ('{"latitude": 1.5, "longitude": 2.5}', "no idea", " \n")),
        Reply("b", ("3.25 S, 4.5 W", "")),
    ]
    assert summary(replies, 2) == "2 places for 2 photos; 3 answers name no usable place, 2 of them are empty"
    assert summary(replies, 3).startswith("photos without answers: 1; 2 places for 3 photos; ")
    assert summary(iter([]), 0) == "0 places for 0 photos; 0 answers name no usable place, 0 of them are empty"


def test_summary_of_answers_that_were_cut_off():
    replies = [
        Reply("a", ("(46.17, 7.10). I see a", "46.17, 7.1", ""), cut=(0, 1, 2)),
        Reply("b", ("(46.17, 7.10)",)),
        Reply("c", ("The photo shows",), cut=(0,)),
    ]
    assert summary(replies, 3) == (
        "2 places for 3 photos; 2 answers name no usable place, 0 of them are empty; 4 answers about 2 photos were cut "
        "off by --max_tokens, 1 of them in the middle of a place, and left out: a run with more tokens asks about "
        "these photos again"
    )
