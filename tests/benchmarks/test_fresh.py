import os

import pytest

from benchmarks.fresh import in_fresh_process


def hold(mib: int) -> dict:
    held = bytearray(mib * 2**20)
    return {"mib": len(held) // 2**20, "flag": os.environ.get("FRESH_FLAG")}


def fail() -> None:
    raise ValueError("out of luck")


def test_memory_is_that_of_the_new_process(monkeypatch):
    monkeypatch.setattr(hold, "__module__", "tests.benchmarks.test_fresh")
    held = bytearray(500 * 2**20)  # of this process
    outcome = in_fresh_process(hold, {"FRESH_FLAG": "set"}, mib=200)
    assert outcome.returned == {"mib": 200, "flag": "set"}
    assert 200 < outcome.peak_mib < 400 < len(held) / 2**20
    assert outcome.seconds > 0


def test_what_fails_is_named(monkeypatch):
    monkeypatch.setattr(fail, "__module__", "tests.benchmarks.test_fresh")
    with pytest.raises(ValueError, match=r"test_fresh\.fail exited with 1: ValueError: out of luck"):
        in_fresh_process(fail)
