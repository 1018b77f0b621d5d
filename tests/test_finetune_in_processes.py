"""Training in two processes: equal to one with twice the batch, and killed and resumed equal to uninterrupted.

Each launcher is started once; other runs have the environment that it would give them, in forks of a process that
has imported everything.
"""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from unittest import mock

import pytest
import torch
from safetensors.torch import load_file

import finetune_geo_ranker
from tests.loopback import free_port
from tests.training_world import arguments, build_training_world, logged, losses, train
from utils.geo_ranker import GeoRanker
from utils.model.batch import PackedBatch
from utils.model.sharing import Sharing

ROOT = Path(__file__).parent.parent
CPU = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
LAUNCHERS = {
    "deepspeed": ("deepspeed.launcher.runner", "--num_accelerators", "2"),
    "torchrun": ("torch.distributed.run", "--nproc_per_node", "2"),
}
IMPORTED = ("deepspeed", "utils.geo_ranker", "utils.training.trainer", "tests.test_finetune_in_processes")


def launch(name: str, arguments: list[str], log: Path) -> None:
    """Run the script in two processes, started by a launcher and writing to ``log``."""
    command = [sys.executable, "-m", *LAUNCHERS[name], "--master_port", str(free_port())]
    with log.open("w") as file:
        process = subprocess.Popen(
            [*command, str(ROOT / "finetune_geo_ranker.py"), *arguments],
            cwd=ROOT, env=os.environ | CPU, stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        code = process.wait(timeout=400)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert code == 0, log.read_text()[-5000:]


@pytest.fixture(scope="module")
def forks() -> multiprocessing.context.ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(IMPORTED))
    with mock.patch.dict(os.environ, CPU | {"PYTHONPATH": str(ROOT)}):
        forkserver.ensure_running()
    return context


def fork(forks, arguments: list[str], log: Path) -> list[BaseProcess]:
    """Two processes of the script as the deepspeed launcher would start them, writing to ``log``."""
    port = free_port()
    processes = [forks.Process(target=run_rank, args=(rank, port, arguments, log), daemon=True) for rank in range(2)]
    for process in processes:
        process.start()
    return processes


def run_rank(rank: int, port: int, arguments: list[str], log: Path) -> None:
    """The script; the rewards of its training go into a file beside the log."""
    with log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ |= CPU | {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    rewards, forward = [], GeoRanker.forward

    def noted(ranker: GeoRanker, batch: PackedBatch, sharing: Sharing) -> torch.Tensor:
        rewards.append(forward(ranker, batch, sharing))
        return rewards[-1]

    with mock.patch.object(GeoRanker, "forward", noted):
        code = finetune_geo_ranker.main([f"--local_rank={rank}", *arguments])
    torch.save(torch.cat(rewards).detach(), log.with_suffix(f".{rank}.pt"))
    sys.exit(code)


def finish(processes: list[BaseProcess], log: Path) -> None:
    deadline = time.monotonic() + 400
    for process in processes:
        process.join(max(0, deadline - time.monotonic()))
    codes = [process.exitcode for process in processes]
    kill(processes)
    assert codes == [0, 0], log.read_text()[-5000:]


def kill(processes: list[BaseProcess]) -> None:
    for process in processes:
        process.kill()
        process.join()


def adapters_equal(first: Path, second: Path, tolerance: float) -> bool:
    one, two = (load_file(folder / "adapter_model.safetensors") for folder in (first, second))
    return one.keys() == two.keys() and all(
        torch.allclose(one[name].float(), two[name].float(), atol=tolerance) for name in one
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """See ``build_training_world``."""
    return build_training_world(tmp_path_factory.mktemp("world"))


SETTINGS = {"max_steps": 3, "hard_pool": 8, "lora_dropout": 0, "eval_steps": 3}


@pytest.fixture(scope="module")
def one(world, tiny_base, tmp_path_factory) -> Path:
    """A run of one process with the batch of two."""
    output = tmp_path_factory.mktemp("one")
    train(world, tiny_base, output, per_device_train_batch_size=2, eval_dataset=world / "val.parquet", **SETTINGS)
    return output


@pytest.mark.parametrize("name", ["torchrun", "deepspeed"])
def test_two_processes_equal_one_with_twice_the_batch(world, tiny_base, one, forks, tmp_path, name):
    """Data-parallel under torchrun, filling a feature cache together; under deepspeed ZeRO-3, every weight sharded."""
    settings = SETTINGS | {"eval_dataset": world / "val.parquet"}
    log = tmp_path / "log"
    if name == "torchrun":
        flags = arguments(world, tiny_base, tmp_path / "two", feature_cache=tmp_path / "features", **settings)
        launch(name, flags, log)
    else:
        config = json.loads((ROOT / "deepspeed_config" / "zero3.json").read_text())
        config["zero_optimization"]["stage3_param_persistence_threshold"] = 0
        (tmp_path / "zero3.json").write_text(json.dumps(config))
        flags = arguments(world, tiny_base, tmp_path / "two", deepspeed=tmp_path / "zero3.json", **settings)
        finish(fork(forks, flags, log), log)
    pair, alone = logged(tmp_path / "two"), logged(one)
    for term in ("loss", "first_order_loss", "second_order_loss", "pairwise_accuracy", "grad_norm"):
        assert [entry[term] for entry in pair] == pytest.approx([entry[term] for entry in alone], rel=1e-3)
    assert adapters_equal(one, tmp_path / "two", 1e-3)
    evaluations = [
        [e for e in json.loads(path.read_text())["log_history"] if "eval_loss" in e]
        for path in (run / "checkpoint-3" / "trainer_state.json" for run in (one, tmp_path / "two"))
    ]
    for figure in ("eval_loss", "eval_pairwise_accuracy", "eval_accuracy_25km", "eval_accuracy_200km"):
        assert evaluations[0][0][figure] == pytest.approx(evaluations[1][0][figure], rel=1e-3)


def test_deepspeed_killed_and_resumed_equals_uninterrupted(world, tiny_base, forks, tmp_path):
    """ZeRO-2 in bfloat16 as in the published command, which starts the uninterrupted run; with dropout."""
    settings = {"max_steps": 6, "hard_pool": 8, "save_steps": 2, "dtype": "bfloat16"}
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    launch("deepspeed", arguments(world, tiny_base, whole, **settings), tmp_path / "whole.log")

    log = tmp_path / "broken.log"
    flags = arguments(world, tiny_base, broken, **settings)
    processes = fork(forks, flags, log)
    checkpoint = broken / "checkpoint-2" / "trainer_state.json"
    deadline = time.monotonic() + 300
    while not checkpoint.exists() and processes[0].is_alive() and time.monotonic() < deadline:
        time.sleep(0.001)
    kill(processes)
    assert checkpoint.exists(), log.read_text()[-5000:]
    assert not (broken / "adapter_model.safetensors").exists()

    finish(fork(forks, [*flags, "--continue_ckpt_path", "latest"], log), log)
    assert (broken / "checkpoint-6" / "global_step6").is_dir()  # DeepSpeed's own folder
    assert [entry["step"] for entry in logged(broken)] == list(range(1, 7))
    assert losses(logged(broken)) == pytest.approx(losses(logged(whole)), rel=1e-6)
    assert adapters_equal(whole, broken, 1e-6)
    for rank in range(2):
        rewards = torch.load(log.with_suffix(f".{rank}.pt"))
        assert rewards.dtype == torch.float32
        assert not is_bfloat16(rewards)
    for name, tensor in load_file(broken / "adapter_model.safetensors").items():
        assert tensor.dtype == torch.float32
        assert not is_bfloat16(tensor), name  # the optimiser's, not what the model computes with


def is_bfloat16(tensor: torch.Tensor) -> bool:
    """Whether its numbers are all representable in bfloat16."""
    return torch.equal(tensor, tensor.bfloat16().float())
