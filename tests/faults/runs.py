"""Scripts run as processes of their own, forked from one that has imported everything, so that a start costs little."""

import importlib
import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).parent.parent.parent
IMPORTED = (
    *("utils.geo_ranker", "utils.training.trainer", "utils.evaluation.resumed", "utils.evaluation.report_files"),
    *("utils.locating.folder", "utils.retrieval.building", "utils.generation.api", "sklearn.linear_model", __name__),
)
SECONDS = 120  # that no run here takes


@dataclass(frozen=True)
class End:
    """How a run ended: its exit code, negative after a signal, and all that it said."""

    code: int
    text: str


class Runs:
    """``start(script, arguments, log)``; ``end`` waits."""

    def __init__(self) -> None:
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(list(IMPORTED))
        with mock.patch.dict(os.environ, {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}):
            forkserver.ensure_running()

    def start(
        self,
        script: str,
        arguments: Sequence[str],
        log: Path,
        settings: Mapping[str, int],
        file_size: int | None,
    ) -> BaseProcess:
        """``script`` without its ``.py``; no file may exceed ``file_size`` bytes.

        ``settings`` are constants of the library, such as ``utils.retrieval.gallery_embeddings.SHARD``.
        """
        log.unlink(missing_ok=True)
        process = self.context.Process(target=_run, args=(script, arguments, log, settings, file_size), daemon=True)
        process.start()
        return process

    def end(self, process: BaseProcess, log: Path) -> End:
        """Wait for the process; one that hangs is killed and fails."""
        process.join(SECONDS)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise AssertionError(f"it hung, having said {_text(log)}")
        return End(process.exitcode, _text(log))


def _text(log: Path) -> str:
    return log.read_text(encoding="utf-8") if log.exists() else ""


def _run(script: str, arguments: Sequence[str], log: Path, settings: Mapping[str, int], file_size: int | None) -> None:
    with log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(ROOT)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name, value in settings.items():
        module, constant = name.rsplit(".", 1)
        setattr(importlib.import_module(module), constant, value)
    module = importlib.import_module(script)
    module.run_command = _interruptible(module.run_command)
    if file_size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    sys.exit(module.main(arguments))


def _interruptible(run_command: Callable[..., int]) -> Callable[..., int]:
    """The same, which answers Ctrl-C. Before, while arguments are parsed, a script would show a traceback."""

    def run(*args: object, **options: object) -> int:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return run_command(*args, **options)

    return run
