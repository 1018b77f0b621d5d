import pytest

from utils.cli.command import run_command


def test_problems_are_named_and_set_the_exit_code(capsys):
    assert run_command(lambda: []) == 0
    assert run_command(lambda: ["a.jpg: truncated", "b.jpg: missing"]) == 1
    assert capsys.readouterr().err == "problem: a.jpg: truncated\nproblem: b.jpg: missing\n"


def test_expected_errors_end_in_one_line_and_others_do_not():
    def fail(error: Exception) -> list[str]:
        raise error

    with pytest.raises(SystemExit, match="no column LAT"):
        run_command(lambda: fail(ValueError("table.csv: no column LAT")))
    with pytest.raises(SystemExit, match="error: quota"):
        run_command(lambda: fail(RuntimeError("quota")), RuntimeError)
    with pytest.raises(KeyError):
        run_command(lambda: fail(KeyError("defect")))
