import pytest

from utils.cli.logs import set_up_logging
from utils.jobs.progress import progress_bar

pytestmark = pytest.mark.usefixtures("unset_logging")


def count() -> None:
    assert list(progress_bar(range(3), unit="photo", desc="asking")) == [0, 1, 2]


def test_a_program_that_has_not_asked_sees_no_bar(capsys):
    count()
    assert capsys.readouterr() == ("", "")


def test_a_script_shows_it_on_standard_error(capsys):
    set_up_logging()
    count()
    output = capsys.readouterr()
    assert output.out == ""
    last = output.err.split("\r")[-1]
    assert last.startswith("asking: 100%")
    assert "3/3" in last
    assert "photo" in last


@pytest.mark.parametrize(("quiet", "rank"), [(True, "0"), (False, "1")])
def test_quiet_scripts_and_all_processes_but_the_first_have_none(quiet, rank, monkeypatch, capsys):
    monkeypatch.setenv("RANK", rank)
    set_up_logging(quiet)
    count()
    assert capsys.readouterr() == ("", "")
