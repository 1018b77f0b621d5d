"""Processes forked from one that has imported everything, so that a start costs little.

There is one such process for all tests that run in a worker of pytest; it imports for all of them.
"""

import importlib
import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from unittest import mock

# It says in every process that imports it that it cannot download a kernel, which nothing here needs.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)

ROOT = Path(__file__).parent.parent
IMPORTED = (
    __name__,
    *("utils.geo_ranker", "utils.evaluation.by_ranker", "utils.evaluation.resumed", "utils.evaluation.report_files"),
    *("utils.training.trainer", "utils.locating.folder", "utils.retrieval.building", "utils.generation.api"),
    *("sklearn.linear_model", "torch.distributed.run", "accelerate.commands.launch", "deepspeed"),
    *("tests.test_evaluate", "tests.test_finetune_in_processes", "tests.test_nodes", "tests.faults.runs"),
)
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
SECONDS = 600  # that no run here takes


def forks() -> multiprocessing.context.ForkServerContext:
    """What starts the processes; they can be sent what the started one can import by name."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(IMPORTED))
    with mock.patch.dict(os.environ, ENVIRONMENT):
        forkserver.ensure_running()
    return context


def start(target: Callable, *arguments: object, log: Path, environment: Mapping[str, str] | None = None) -> BaseProcess:
    """``target(*arguments)`` in a process, and a process group, of its own; what it says is added to ``log``."""
    process = forks().Process(target=_begin, args=(target, arguments, log, dict(environment or {})))
    process.start()
    return process


def _begin(target: Callable, arguments: Sequence[object], log: Path, environment: Mapping[str, str]) -> None:
    os.setpgrp()
    multiprocessing.set_start_method("fork", force=True)  # of data workers, as in a script; not that of this process
    with log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ |= environment
    target(*arguments)


def ended(processes: Sequence[BaseProcess]) -> list[int]:
    """Exit codes, of processes that end in time; ends the workers that a killed process left, too."""
    deadline = time.monotonic() + SECONDS
    for process in processes:
        process.join(max(0, deadline - time.monotonic()))
        kill(process)
    return [process.exitcode for process in processes]


def kill(process: BaseProcess) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join()


def run_script(command: Sequence[str]) -> None:
    """A script of the checkout."""
    os.chdir(ROOT)
    sys.exit(importlib.import_module(command[0].removesuffix(".py")).main(command[1:]))


def launch(launcher: str, arguments: Sequence[str], run: Callable[[Sequence[str]], None] = run_script) -> None:
    """torchrun or accelerate launch, as its command line starts it; it starts ``run`` of the script as forks, too."""
    os.environ["LAUNCHER"] = str(os.getpid())
    with _as_forks(run), _impatient():
        if launcher == "torchrun":
            from torch.distributed.run import main

            main(arguments)
        else:
            from accelerate.commands.launch import launch_command, launch_command_parser

            launch_command(launch_command_parser().parse_args(arguments))


def _as_forks(run_script: Callable[[Sequence[str]], None]) -> mock._patch:
    """Has torchrun start forks of the script that it is given."""
    from torch.distributed import run

    config_from_args = run.config_from_args

    def forking(args: object) -> tuple:
        config, _, command = config_from_args(args)
        script = [Path(command[command.index("-u") + 1]).name, *command[command.index("-u") + 2 :]]
        return replace(config, start_method="fork"), run_script, [script]

    return mock.patch.object(run, "config_from_args", forking)


def _impatient() -> mock._patch:
    """Has a launcher end without waiting for those of the other machines, for five minutes at most."""
    from torch.distributed.elastic.agent.server.api import SimpleElasticAgent

    return mock.patch.object(SimpleElasticAgent, "_exit_barrier")
