import os
import signal
import subprocess
import sys
import time

import pytest

from tests.commands import ROOT
from utils.cli.command import run_command

pytestmark = pytest.mark.usefixtures("unset_logging")


@pytest.fixture(autouse=True)
def usual_handler():
    """A shell starts what it runs in the background with Ctrl-C ignored."""
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, usual)


class Dropping:
    """What its ``__del__`` raises is dropped by Python."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def test_an_interruption_that_python_drops_is_raised_again(capsys):
    show = sys.unraisablehook

    def work() -> list[str]:
        Dropping()
        time.sleep(60)
        return []

    assert run_command(work) == 130
    assert capsys.readouterr() == ("", "stopped\n")
    assert sys.unraisablehook is show


def test_other_exceptions_that_python_drops_are_shown(monkeypatch):
    shown = []
    monkeypatch.setattr(sys, "unraisablehook", lambda dropped: shown.append(dropped.exc_type))

    class Failing:
        def __del__(self) -> None:
            raise KeyError

    def work() -> list[str]:
        Failing()
        return []

    assert run_command(work) == 0
    assert shown == [KeyError]


def test_forked_processes_leave_the_interruption_to_the_script():
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        with open(writing, "w") as sys.stderr:
            signal.raise_signal(signal.SIGINT)
            for error in (BrokenPipeError(), EOFError(), ValueError("shown")):
                sys.excepthook(type(error), error, None)
        os._exit(7)
    os.close(writing)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    with os.fdopen(reading) as said:
        assert said.read() == "ValueError: shown\n"


def test_an_interruption_before_the_work_is_one_line():
    """As it is while a script imports what it needs and parses its flags, or after its work."""
    for line, code, says in (
        ("signal.raise_signal(signal.SIGINT)", 130, "stopped\n"),
        ("raise KeyError('defect')", 1, "KeyError: 'defect'\n"),
    ):
        script = f"import signal, utils.cli.command; signal.signal(signal.SIGINT, signal.default_int_handler); {line}"
        done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == code
        assert done.stderr.endswith(says)
        assert ("Traceback" in done.stderr) == (code == 1)
