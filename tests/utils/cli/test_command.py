import logging
from pathlib import Path

import pytest

from utils.cli.command import SHOWN, first_of, one_line_errors, run_command

pytestmark = pytest.mark.usefixtures("unset_logging")


def fail(error: BaseException) -> list[str]:
    raise error


def test_problems_are_named_and_set_the_exit_code(capsys):
    assert run_command(lambda: []) == 0
    assert capsys.readouterr() == ("", "")
    assert run_command(lambda: ["a.jpg: truncated", "b.jpg: missing"]) == 1
    assert capsys.readouterr() == ("", "problem: a.jpg: truncated\nproblem: b.jpg: missing\n")


def test_of_many_problems_the_first_are_shown_and_the_others_counted():
    many = [f"row {number}" for number in range(SHOWN + 1234)]
    assert first_of(many[:SHOWN]) == many[:SHOWN]
    assert first_of(many, ", in a file") == [*many[:SHOWN], "1,234 more, in a file"]


def test_expected_errors_end_in_one_line_and_others_do_not():
    with pytest.raises(SystemExit, match="no column LAT"):
        run_command(lambda: fail(ValueError("table.csv: no column LAT")))
    with pytest.raises(SystemExit, match="error: quota"):
        run_command(lambda: fail(RuntimeError("quota")), RuntimeError)
    with pytest.raises(KeyError):
        run_command(lambda: fail(KeyError("defect")))


def test_a_missing_file_is_named_with_what_fetches_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop, one_line_errors():
        Path("dataset/yfcc4k/yfcc4k_places365.csv").read_text()
    first, command = stop.value.code.splitlines()
    assert first == ("error: dataset/yfcc4k/yfcc4k_places365.csv does not exist: coordinates of the YFCC4K photos")
    assert "hf download" in command
    with pytest.raises(SystemExit, match=r"^error: mine\.csv does not exist$"), one_line_errors():
        Path("mine.csv").read_text()
    with pytest.raises(SystemExit, match=r"^error: no checkpoint$"), one_line_errors():
        fail(FileNotFoundError("no checkpoint"))


@pytest.mark.parametrize("quiet", [False, True])
def test_interruption_has_its_own_exit_code_and_says_what_is_left(quiet, capsys):
    assert run_command(lambda: fail(KeyboardInterrupt()), quiet=quiet) == 130
    assert capsys.readouterr() == ("", "stopped\n")
    assert run_command(lambda: fail(KeyboardInterrupt()), quiet=quiet, stopped="stopped: run it again") == 130
    assert capsys.readouterr() == ("", "stopped: run it again\n")


@pytest.mark.parametrize("quiet", [False, True])
def test_quiet_hides_notes_but_neither_results_nor_problems(quiet, capsys):
    def work() -> list[str]:
        print("the result")
        logging.getLogger("utils.photos.exif").info("a note")
        return ["a.jpg: truncated"]

    assert run_command(work, quiet=quiet) == 1
    notes = "" if quiet else "a note\n"
    assert capsys.readouterr() == ("the result\n", f"{notes}problem: a.jpg: truncated\n")
