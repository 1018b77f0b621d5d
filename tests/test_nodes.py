"""Several machines, played by several launchers on this one: torchrun, accelerate launch and a Slurm array.

Launchers and scripts are forks of a process that has imported everything, so that a start costs little; a launcher
starts its script as a fork, too.
"""

import importlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from tests.forks import ROOT, ended, launch, run_script, start
from tests.loopback import free_port
from tests.world import GENERATED, RETRIEVED, build_world, flags
from utils.evaluation.reward_log import RewardLog
from utils.jobs import launch_store


@pytest.fixture(scope="module")
def world(tmp_path_factory, tiny_base) -> Path:
    folder = tmp_path_factory.mktemp("world")
    build_world(folder, tiny_base)
    return folder


def scoring(world: Path, base: Path, output: Path) -> list[str]:
    """evaluate.py, one candidate a batch, so that rewards do not depend on who scores what."""
    top = ["--topn", str(RETRIEVED), "--topn_zs", str(GENERATED), "--max_tokens", "1", "--num_workers", "0"]
    return ["evaluate.py", *flags(world, base), *top, "--output_dir", str(output)]


def run_watched(command: Sequence[str]) -> None:
    """A script that sees soon that another process is lost."""
    launch_store.BEAT, launch_store.SILENCE = 0.1, 1.0
    importlib.import_module("utils.retrieval.gallery_embeddings").SHARD = 3
    run_script(command)


def run_and_die(command: Sequence[str]) -> None:
    """The same, but the process of rank 1 dies with its launcher at its second query.

    The others wait for that it has logged one.
    """
    append = RewardLog.append

    def append_and_die(log: RewardLog, query: object, rewards: np.ndarray) -> None:
        append(log, query, rewards)
        if os.environ["RANK"] == "1":
            for process in {os.getpid(), int(os.environ.get("LAUNCHER", os.getpid()))} - {os.getpid()}:
                os.kill(process, signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)
        other = log._log.path.with_name("rewards.1.jsonl")
        while not (other.exists() and other.stat().st_size):
            time.sleep(0.01)

    with mock.patch.object(RewardLog, "append", append_and_die):
        run_watched(command)


@pytest.fixture(scope="module")
def alone(world, tiny_base, tmp_path_factory) -> bytes:
    """The predictions of one process."""
    folder = tmp_path_factory.mktemp("alone")
    log = folder / "log"
    assert ended([start(run_watched, scoring(world, tiny_base, folder), log=log)]) == [0], log.read_text()
    return (folder / "predictions.csv").read_bytes()


def test_torchrun_loses_a_node(world, tiny_base, alone, tmp_path):
    """Launcher and script of the second node are killed; the first node does the rest, and what the second had."""
    where = ["--nnodes", "2", "--nproc_per_node", "1", "--master_addr", "127.0.0.1", "--master_port", str(free_port())]
    command = scoring(world, tiny_base, tmp_path / "out")
    log = tmp_path / "log"
    nodes = [
        start(launch, "torchrun", [*where, "--node_rank", str(rank), *command], run_and_die, log=log) for rank in (0, 1)
    ]
    assert ended(nodes) == [0, -signal.SIGKILL], log.read_text()
    assert "process 1 of 2 is lost: the first one does what is left of its share" in log.read_text()
    assert (tmp_path / "out" / "predictions.csv").read_bytes() == alone
    assert len((tmp_path / "out" / "rewards.1.jsonl").read_text().splitlines()) == 1


def test_accelerate_on_two_machines_builds_one_index(world, tiny_base, tmp_path):
    command = ["retrieve_candidates.py", "build", "--gallery", str(world / "gallery.csv"), "--model", str(tiny_base)]
    command += ["--image_data_path", str(world / "gallery.tar"), "--device", "cpu", "--num_workers", "0"]
    command += ["--batch_size", "2", "--index"]
    where = ["--multi_gpu", "--num_machines", "2", "--num_processes", "2", "--main_process_ip", "127.0.0.1"]
    where += ["--main_process_port", str(free_port())]
    log = tmp_path / "log"
    processes = [start(run_watched, [*command, str(tmp_path / "one")], log=log)]
    for rank in ("0", "1"):
        arguments = [*where, "--machine_rank", rank, *command, str(tmp_path / "two")]
        processes.append(start(launch, "accelerate", arguments, run_watched, log=log))
    assert ended(processes) == [0, 0, 0], log.read_text()
    one, two = (np.load(tmp_path / name / "embeddings.npy") for name in ("one", "two"))
    np.testing.assert_array_equal(one, two)
    assert log.read_text().count("exact index of") == 2


def test_a_slurm_array_loses_a_task(world, tiny_base, alone, tmp_path):
    """The script's body says what a task runs and in which environment; a job after the array does what is left."""
    command = scoring(world, tiny_base, tmp_path / "out")
    tasks = [array_task(tmp_path, number, command) for number in (4, 5)]
    log = tmp_path / "log"
    codes = ended([start(run_and_die, arguments, log=log, environment=given) for given, arguments in tasks])
    assert codes == [0, -signal.SIGKILL], log.read_text()
    assert not (tmp_path / "out" / "predictions.csv").exists()
    logged = {path: path.read_text() for path in (tmp_path / "out").glob("rewards.*.jsonl")}
    lines = [json.loads(line)["query"] for text in logged.values() for line in text.splitlines()]
    assert len(lines) == len(set(lines)) >= 3

    assert ended([start(run_watched, command, log=log)]) == [0], log.read_text()
    assert (tmp_path / "out" / "predictions.csv").read_bytes() == alone
    assert (tmp_path / "out" / "rewards.1.jsonl").read_text() == logged[tmp_path / "out" / "rewards.1.jsonl"]


def array_task(folder: Path, number: int, command: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """What docs/slurm/array.sh runs as task ``number`` of 4 and 5: the environment of this project, and the command."""
    python = folder / "python"
    python.write_text('#!/bin/sh\nenv\nfor argument; do echo "argument=$argument"; done\n')
    python.chmod(0o755)
    slurm = {"ARRAY_TASK_ID": number, "ARRAY_TASK_MIN": 4, "ARRAY_TASK_COUNT": 2, "ARRAY_JOB_ID": 77}
    slurm |= {"SUBMIT_DIR": folder}
    said = subprocess.run(
        ["bash", str(ROOT / "docs" / "slurm" / "array.sh"), *command],
        env={"PATH": f"{folder}:/usr/bin:/bin"} | {f"SLURM_{name}": str(value) for name, value in slurm.items()},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    pairs = [line.split("=", 1) for line in said.stdout.splitlines()]
    names = ("RANK", "WORLD_SIZE", "GEORANKER_SHARED_WORK")
    return {name: value for name, value in pairs if name in names}, [v for name, v in pairs if name == "argument"]
