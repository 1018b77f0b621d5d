"""Who may write into a folder. Locks of files are those of logs: test_json_lines.py."""

import os
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.held import ROOT, end, hold
from utils.jobs.locks import InUse, alone_in, making


def test_a_second_writer_is_told_who_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "folder"
    process = hold(folder)
    try:
        with pytest.raises(InUse, match=f"folder is being written by process {process.pid} on {platform.node()}$"):
            alone_in(folder).__enter__()
        with alone_in(folder, rank=1) as descriptor:  # another process of the launch that holds it
            assert descriptor is None
        with alone_in(tmp_path):
            assert os.listdir(tmp_path / "deep" / "folder") == [".lock"]
    finally:
        end(process)
    with alone_in(folder):  # a killed process holds nothing
        assert (folder / ".lock").read_text() == f"process {os.getpid()} on {platform.node()}\n"
        with pytest.raises(InUse, match=f"process {os.getpid()} on "):  # nor may this one twice
            alone_in(folder).__enter__()
    assert os.listdir(folder) == []


def test_an_error_frees_the_folder(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="out of luck"), alone_in(tmp_path):
        raise RuntimeError("out of luck")
    with alone_in(tmp_path):
        pass


def test_a_forked_process_that_ends_does_not_free_the_folder(tmp_path: Path) -> None:
    process = hold(tmp_path, "child = os.fork()\n    if not child: sys.exit()\n    os.waitpid(child, 0)")
    try:
        with pytest.raises(InUse, match=f"process {process.pid} on "):
            alone_in(tmp_path).__enter__()
        assert os.listdir(tmp_path) == [".lock"]
    finally:
        end(process)


def test_a_forked_process_that_lives_on_does_not_keep_the_folder(tmp_path: Path) -> None:
    end(hold(tmp_path, "if not os.fork(): os.close(1); time.sleep(5); os._exit(0)"))
    with alone_in(tmp_path):
        pass


def test_of_many_that_come_and_go_one_at_a_time_is_inside(tmp_path: Path) -> None:
    """The lock is removed and made again all the time."""
    code = (
        "import os, sys\nfrom utils.jobs.locks import InUse, alone_in\ndone = 0\n"
        "while done < 100:\n"
        "    try:\n"
        "        with alone_in(sys.argv[1]):\n"
        "            os.close(os.open(sys.argv[1] + '/inside', os.O_CREAT | os.O_EXCL))\n"
        "            os.unlink(sys.argv[1] + '/inside')\n"
        "            done += 1\n"
        "    except InUse:\n"
        "        pass\n"
    )
    with ExitStack() as running:
        command = [sys.executable, "-c", code, str(tmp_path)]
        processes = [running.enter_context(subprocess.Popen(command, cwd=ROOT)) for _ in range(3)]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert os.listdir(tmp_path) == []


def test_a_file_is_made_once(tmp_path: Path) -> None:
    """Whoever waits for it finds it."""
    path, made = tmp_path / "deep" / "file", []

    def make(number: int) -> None:
        with making(path):
            if not path.exists():
                made.append(number)
                path.touch()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(make, range(50)))
    assert len(made) == 1
    assert os.listdir(path.parent) == ["file"]


def test_who_waits_says_so(tmp_path: Path, caplog) -> None:
    caplog.set_level("INFO", "utils")
    with ThreadPoolExecutor(1) as pool:
        with making(tmp_path / "file"):
            waiting = pool.submit(_make_after, tmp_path / "file")
            while not caplog.messages:
                assert not waiting.done()
        waiting.result()
    assert caplog.messages == [f"{tmp_path / 'file'} is being written by another process: waiting for it"]


def _make_after(path: Path) -> None:
    with making(path):
        pass
