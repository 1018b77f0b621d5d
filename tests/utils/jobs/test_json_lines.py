"""Logs of JSON lines: who may write, what a kill leaves, what is read."""

import errno
import fcntl
import json
import logging
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.jobs.json_lines import JsonLines, OtherSettings, check_settings, read_json_lines, read_record

ROOT = Path(__file__).parents[3]
SETTINGS = {"model": "m", "temperature": 1.2}


def start(code: str, *words: object) -> subprocess.Popen:
    """A process of its own that runs ``code``."""
    command = [sys.executable, "-c", "import os, sys, time\nfrom utils.jobs.json_lines import JsonLines\n" + code]
    return subprocess.Popen(
        [*command, *map(str, words)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def holding(path: Path) -> subprocess.Popen:
    """A process that has opened the log, added a record and written half of another one."""
    process = start(
        "log = JsonLines(sys.argv[1])\nlog.add({'from': 'holder'})\nos.write(log._file.fileno(), b'{\"from\": \"ho')\n"
        "print('there', flush=True)\ntime.sleep(60)",
        path,
    )
    assert process.stdout.readline() == "there\n", process.communicate()[1]
    return process


def records(path: Path) -> list[dict]:
    return [record for _, record in read_json_lines(path)]


def test_offsets_lead_to_the_records(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "log.jsonl"
    added = [{"text": 'é\n\u2028\ud800 "'}, {}, {"numbers": [1, -0.1, None, True]}]
    with JsonLines(path, SETTINGS) as log:
        offsets = [log.add(record) for record in added]
        assert list(log) == list(read_json_lines(path, SETTINGS)) == list(zip(offsets, added, strict=True))
    assert [read_record(path, offset) for offset in offsets] == added
    lines = path.read_bytes().splitlines(keepends=True)
    assert [json.loads(line) for line in lines] == [SETTINGS, *added]
    assert [sum(map(len, lines[:number])) for number in (1, 2, 3)] == offsets
    with JsonLines(path, SETTINGS) as log:
        assert log.add({"last": 1}) == sum(map(len, lines))
    assert os.listdir(path.parent) == ["log.jsonl"]


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with JsonLines(path, SETTINGS) as log:
        log.add({"a": 1})
        before = path.read_bytes()
        second = start("JsonLines(sys.argv[1]).add({'b': 2})", path)
        _, errors = second.communicate(timeout=60)
        assert second.returncode == 1
        holder = f"process {os.getpid()} on {platform.node()}"
        assert errors.strip().splitlines()[-1].endswith(f"InUse: {path} is being written by {holder}")
        with pytest.raises(ValueError, match=holder):  # nor may another object of this process
            JsonLines(path, SETTINGS)
        assert path.read_bytes() == before
        log.add({"c": 3})
    second = start("JsonLines(sys.argv[1]).add({'b': 2})", path)
    assert second.communicate(timeout=60)[1] == ""
    assert records(path) == [SETTINGS, {"a": 1}, {"c": 3}, {"b": 2}]


def test_who_waits_comes_next(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with JsonLines(path) as log:
        second = start("print('there', flush=True)\nJsonLines(sys.argv[1], wait=True).add({'b': 2})", path)
        assert second.stdout.readline() == "there\n"
        time.sleep(0.5)
        assert second.poll() is None
        log.add({"a": 1})
    assert second.communicate(timeout=60)[1] == ""
    assert records(path) == [{"a": 1}, {"b": 2}]


def test_a_killed_process_leaves_a_torn_line_and_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    process = holding(path)
    with pytest.raises(ValueError, match=rf"log\.jsonl is being written by process {process.pid} on "):
        JsonLines(path)
    assert records(path) == [{"from": "holder"}]
    assert not path.read_bytes().endswith(b"\n")
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    with JsonLines(path) as log:
        assert path.read_bytes() == b'{"from":"holder"}\n'
        log.add({"from": "heir"})
    assert records(path) == [{"from": "holder"}, {"from": "heir"}]


def test_a_fork_neither_releases_nor_keeps_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    parent = start(
        "log = JsonLines(sys.argv[1])\n"
        "reader, writer = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    try:\n        log.add({'from': 'child'})\n    except ValueError as error:\n        print(error)\n"
        "    log.close()\n    os.write(writer, b'x')\n    sys.stdout.close()\n    os.close(1)\n    os.close(2)\n"
        "    time.sleep(5)\n    os._exit(0)\n"
        "os.read(reader, 1)\nlog.add({'from': 'parent'})\nprint('there', flush=True)\ntime.sleep(60)",
        path,
    )
    assert sorted([parent.stdout.readline(), parent.stdout.readline()]) == ["I/O operation on closed file\n", "there\n"]
    with pytest.raises(ValueError, match=rf"process {parent.pid} on "):  # the child's close has removed nothing
        JsonLines(path)
    parent.kill()  # the child lives on
    parent.communicate()
    with JsonLines(path) as log:
        log.add({"from": "heir"})
    assert records(path) == [{"from": "parent"}, {"from": "heir"}]


def test_other_settings_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with JsonLines(path, SETTINGS) as log:
        log.add({"a": 1})
    path.write_bytes(path.read_bytes() + b'{"torn')
    before = path.read_bytes()
    other = {"model": "n", "temperature": 1.2, "seed": 3}
    message = r"log\.jsonl was made with other settings, model m, not n; seed None, not 3$"
    with pytest.raises(OtherSettings, match=message) as caught:
        JsonLines(path, other)
    assert caught.value.differences == "model m, not n; seed None, not 3"
    for read in (lambda: list(read_json_lines(path, other)), lambda: check_settings(path, other)):
        with pytest.raises(OtherSettings, match=message):
            read()
    with pytest.raises(OtherSettings, match=r"temperature 1\.2, not None"):
        check_settings(path, {"model": "m"})
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["log.jsonl"]
    with JsonLines(path, SETTINGS | {"temperature": 1.20}):  # refused ones keep nothing locked
        pass
    path.write_bytes(b"no JSON\n")
    with pytest.raises(OtherSettings, match=r"model None, not m; temperature None, not 1\.2"):
        JsonLines(path, SETTINGS)


def test_tuples_and_lists_are_one(tmp_path: Path) -> None:
    for _ in range(2):
        with JsonLines(tmp_path / "log.jsonl", {"omit": ("images",)}) as log:
            assert list(log) == []


def test_damaged_lines_are_skipped_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"a":1}\nwhat?\n\n \n[1]\n\xff\xfe\n\0\0\n{"b":2}\n')
    with caplog.at_level(logging.WARNING):
        assert list(read_json_lines(path)) == [(0, {"a": 1}), (27, {"b": 2})]
    assert [message.removeprefix(str(path)) for message in caplog.messages] == [
        f": line {number} is no JSON object and is skipped" for number in (2, 5, 6, 7)
    ]
    caplog.clear()
    path.write_bytes(json.dumps(SETTINGS).encode() + b"\nwhat?\n")
    assert list(read_json_lines(path, SETTINGS)) == []
    assert "line 2 " in caplog.text


def test_records_that_begin_with_a_line_break(tmp_path: Path) -> None:
    """As older reward logs have them; a whole record without a line break at its end, as editors leave it, counts."""
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'\n{"a":1}\n{"b":2}\n{"c":3}')
    assert records(path) == [{"a": 1}, {"b": 2}, {"c": 3}]
    with JsonLines(path) as log:
        log.add({"d": 4})
        assert [record for _, record in log] == [{"a": 1}, {"b": 2}, {"c": 3}, {"d": 4}]


def test_file_systems_without_locks_are_warned_about(tmp_path: Path, monkeypatch, caplog) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with caplog.at_level(logging.WARNING), JsonLines(tmp_path / "log.jsonl") as log:
        log.add({"a": 1})
    assert records(tmp_path / "log.jsonl") == [{"a": 1}]
    assert "cannot be locked on this file system" in caplog.text


def test_a_full_disk_tears_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with JsonLines(tmp_path / "log.jsonl") as log:
        log.add({"a": 1})
        file = log._file

        class Full:
            """Takes five bytes, as the system does where no more fit."""

            def __getattr__(self, name: str):
                return getattr(file, name)

            def write(self, line: bytes) -> int:
                return file.write(line[:5])

        with monkeypatch.context() as patch:
            patch.setattr(log, "_file", Full())
            with pytest.raises(OSError, match=r"log\.jsonl") as caught:
                log.add({"b": 2})
            assert caught.value.errno == errno.ENOSPC
        log.add({"c": 3})
    assert records(tmp_path / "log.jsonl") == [{"a": 1}, {"c": 3}]


def test_what_json_has_not_adds_nothing(tmp_path: Path) -> None:
    with JsonLines(tmp_path / "log.jsonl") as log:
        with pytest.raises(ValueError, match="not JSON compliant"):
            log.add({"a": float("nan")})
        assert (tmp_path / "log.jsonl").read_bytes() == b""


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(st.text(), values, max_size=3)


@settings(deadline=None)
@given(st.lists(objects, max_size=5), st.none() | objects, st.integers(0, 150_000), st.data())
def test_what_was_added_before_a_cut_is_read_back_whole(
    tmp_path_factory: pytest.TempPathFactory, added: list[dict], header: dict | None, long: int, data: st.DataObject
) -> None:
    """Ends: of the line of settings and of each record; a cut leaves all whose end it does not touch."""
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    added.append({"long": "x" * long})
    with JsonLines(path, header) as log:
        starts = [log.add(record) for record in added]
    whole = path.read_bytes()
    ends = [*starts[1:], len(whole)]
    cut = data.draw(st.integers(0, len(whole)) | st.sampled_from(ends).map(lambda end: end - 1))
    path.write_bytes(whole[:cut])
    kept = [record for record, end in zip(added, ends, strict=True) if end - 1 <= cut]  # the line break may be gone
    assert [record for _, record in read_json_lines(path, header)] == kept
    with JsonLines(path, header) as log:
        assert [record for _, record in log] == kept
        log.add({"new": 1})
        assert [record for _, record in log] == [*kept, {"new": 1}]
    if kept or cut >= starts[0]:
        assert (whole[:cut] + b"\n").startswith(path.read_bytes()[: -len(b'{"new":1}\n')])
