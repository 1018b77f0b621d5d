"""Scripts run as processes of their own: forks, so that a start costs little."""

import importlib
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from tests.forks import ROOT, forks

SECONDS = 600  # that no run here takes


@dataclass(frozen=True)
class End:
    """How a run ended: its exit code, negative after a signal, and all that it said."""

    code: int
    text: str


class Run:
    """A script that runs, and what it says: through a pipe, as a limit on the size of files would hold for a log."""

    def __init__(self, process: BaseProcess, said: Connection) -> None:
        self.process = process
        self._said = said
        self._text = bytearray()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while piece := os.read(self._said.fileno(), 65536):
            self._text += piece

    def end(self) -> End:
        """Wait for its end; a run that hangs is killed and fails."""
        self.process.join(SECONDS)
        hung = self.process.exitcode is None
        end = self.kill()
        assert not hung, f"it hung, having said {end.text}"
        return end

    def kill(self) -> End:
        self.process.kill()
        self.process.join()
        self._reader.join()
        self._said.close()
        return End(self.process.exitcode, self._text.decode())


class Runs:
    """What starts scripts."""

    def start(
        self, script: str, arguments: Sequence[str], settings: Mapping[str, int], file_size: int | None = None
    ) -> Run:
        """``script`` without its ``.py``; no file may exceed ``file_size`` bytes.

        ``settings`` are constants of the library, such as ``utils.retrieval.gallery_embeddings.SHARD``.
        """
        context = forks()
        said, say = context.Pipe(duplex=False)
        process = context.Process(target=_run, args=(script, arguments, say, settings, file_size), daemon=True)
        process.start()
        say.close()
        return Run(process, said)


def _run(
    script: str, arguments: Sequence[str], say: Connection, settings: Mapping[str, int], file_size: int | None
) -> None:
    for stream in (1, 2):
        os.dup2(say.fileno(), stream)
    say.close()
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
