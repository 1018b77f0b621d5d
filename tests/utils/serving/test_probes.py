import json
import logging

import pytest

from utils.serving.probes import FILENAME, check_probes
from utils.serving.reward_server import Served

A, B = "http://a/classify", "http://b/classify"


@pytest.fixture(autouse=True)
def _warnings(caplog):
    caplog.set_level(logging.WARNING)


def test_rounding_is_passed_over(tmp_path, caplog):
    assert check_probes({A: Served("l", -1.10952), B: Served("l", -1.10953)}, tmp_path) == "l"
    assert check_probes({B: Served("l", -1.10951)}, tmp_path) == "l"
    assert caplog.messages == []
    assert json.loads((tmp_path / FILENAME).read_text()) == {"l": -1.10952}


def test_servers_and_runs_that_compute_otherwise_are_named(tmp_path, caplog):
    """With what a server gave for the shipped adapter in float32, and in float16."""
    check_probes({A: Served("l", -1.10952), B: Served("l", -1.11024)}, tmp_path)
    (message,) = caplog.messages
    assert message.startswith(
        f"{B} computes otherwise than {A}: the reward of one prompt is -1.11024 and -1.10952. Is "
    )
    caplog.clear()
    check_probes({B: Served("l", -1.11024)}, tmp_path)
    (message,) = caplog.messages
    assert message.startswith(f"{B} computes otherwise than the first run into {tmp_path}: ")


def test_checkpoints_of_other_names_have_nothing_to_do_with_each_other(tmp_path, caplog):
    for label, probe in (("l", 1.0), ("m", 2.0), ("l", 1.0), ("m", 2.0)):
        assert check_probes({A: Served(label, probe)}, tmp_path) == label
    assert caplog.messages == []
