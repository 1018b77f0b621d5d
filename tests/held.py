"""Folders that another process writes to."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent


def hold(folder: Path, code: str = "pass") -> subprocess.Popen:
    """A process that is alone in ``folder`` until it is killed, and has run ``code`` there."""
    code = (
        "import os, sys, time\nfrom utils.jobs.locks import alone_in\n"
        f"with alone_in(sys.argv[1]):\n    {code}\n    print('there', flush=True)\n    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, folder], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "there\n"
    return process


def end(process: subprocess.Popen) -> None:
    """Kill what ``hold`` started."""
    process.kill()
    process.communicate()


@contextmanager
def held(folder: Path) -> Iterator[str]:
    """Another process is alone in ``folder`` inside the block; yields what an error says about it, as a pattern."""
    process = hold(folder)
    try:
        yield rf"{folder.name} is being written by process {process.pid} on "
    finally:
        end(process)
