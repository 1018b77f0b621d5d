"""Training in two processes: equal to one with twice the batch, and killed and resumed equal to uninterrupted.

The deepspeed launcher is started once; other runs are forks of a process that has imported everything, in the
environment that it would give them, or started by torchrun.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from unittest import mock

import pytest
import torch
from safetensors.torch import load_file

import finetune_geo_ranker
from tests.forks import ROOT, SECONDS, ended, kill, launch, start
from tests.loopback import free_port
from tests.training_world import arguments, build_training_world, logged, losses, train
from utils.geo_ranker import GeoRanker
from utils.model.batch import PackedBatch
from utils.model.sharing import Sharing
from utils.training.checkpoints import is_complete


def launch_deepspeed(arguments: Sequence[str]) -> None:
    """Run the script in two processes, started by the launcher, as its command line does it."""
    from deepspeed.launcher.runner import main

    os.chdir(ROOT)
    main(["--num_accelerators", "2", "--master_port", str(free_port()), "finetune_geo_ranker.py", *arguments])


def fork(arguments: list[str], log: Path) -> list[BaseProcess]:
    """Two processes of the script as the deepspeed launcher would start them, writing to ``log``."""
    where = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    environments = [where | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(2)]
    return [start(run_rank, arguments, log, log=log, environment=environment) for environment in environments]


def run_rank(arguments: Sequence[str], log: Path) -> None:
    """The script; the rewards of its training go into a file beside the log."""
    rewards, forward = [], GeoRanker.forward

    def noted(ranker: GeoRanker, batch: PackedBatch, sharing: Sharing) -> torch.Tensor:
        rewards.append(forward(ranker, batch, sharing))
        return rewards[-1]

    with mock.patch.object(GeoRanker, "forward", noted):
        code = finetune_geo_ranker.main([f"--local_rank={os.environ['RANK']}", *arguments])
    torch.save(torch.cat(rewards).detach(), log.with_suffix(f".{os.environ['RANK']}.pt"))
    sys.exit(code)


def finish(processes: list[BaseProcess], log: Path) -> None:
    assert ended(processes) == [0] * len(processes), log.read_text()[-5000:]


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
def test_two_processes_equal_one_with_twice_the_batch(world, tiny_base, one, tmp_path, name):
    """Data-parallel under torchrun, filling a feature cache together; under deepspeed ZeRO-3, every weight sharded."""
    settings = SETTINGS | {"eval_dataset": world / "val.parquet"}
    log = tmp_path / "log"
    if name == "torchrun":
        flags = arguments(world, tiny_base, tmp_path / "two", feature_cache=tmp_path / "features", **settings)
        command = ["--standalone", "--nproc_per_node", "2", "finetune_geo_ranker.py", *flags]
        finish([start(launch, "torchrun", command, log=log)], log)
    else:
        config = json.loads((ROOT / "deepspeed_config" / "zero3.json").read_text())
        config["zero_optimization"]["stage3_param_persistence_threshold"] = 0
        (tmp_path / "zero3.json").write_text(json.dumps(config))
        flags = arguments(world, tiny_base, tmp_path / "two", deepspeed=tmp_path / "zero3.json", **settings)
        finish(fork(flags, log), log)
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


def test_deepspeed_killed_and_resumed_equals_uninterrupted(world, tiny_base, tmp_path):
    """ZeRO-2 in bfloat16 as in the published command, which starts the uninterrupted run; with dropout."""
    settings = {"max_steps": 6, "hard_pool": 8, "save_steps": 2, "dtype": "bfloat16"}
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    log = tmp_path / "whole.log"
    finish([start(launch_deepspeed, arguments(world, tiny_base, whole, **settings), log=log)], log)

    log = tmp_path / "broken.log"
    flags = arguments(world, tiny_base, broken, **settings)
    processes = fork(flags, log)
    checkpoint = broken / "checkpoint-2"
    deadline = time.monotonic() + SECONDS
    while not is_complete(checkpoint) and processes[0].is_alive() and time.monotonic() < deadline:
        time.sleep(0.001)
    for process in processes:
        kill(process)
    assert is_complete(checkpoint), log.read_text()[-5000:]
    assert not (broken / "adapter_model.safetensors").exists()

    finish(fork([*flags, "--continue_ckpt_path", "latest"], log), log)
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
