"""Jobs run in folders of their own, and what each leaves when nothing happens."""

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.faults.jobs import Job, Oracle
from tests.faults.runs import End, Run, Runs
from utils.training.checkpoints import is_complete


@dataclass(frozen=True)
class Whole:
    """A run that nothing happened to."""

    results: Mapping[str, object]
    seconds: float
    largest: int  # bytes of its largest file


class Bench:
    """Starts jobs, ends them, and compares what they leave."""

    def __init__(self, runs: Runs, jobs: Mapping[str, Job], folder: Path, oracle: Oracle) -> None:
        self.runs, self.jobs, self.folder, self.oracle = runs, jobs, folder, oracle
        self._whole: dict[str, Whole] = {}
        self._count = 0

    def fresh(self, name: str) -> Path:
        """A new folder for a run of the job."""
        self._count += 1
        folder = self.folder / f"{name}-{self._count}"
        folder.mkdir()
        return folder

    def start(self, name: str, folder: Path, file_size: int | None = None) -> Run:
        """The job, begun in ``folder`` or going on there."""
        job = self.jobs[name]
        begun = job.again is not None and any(map(is_complete, folder.glob("trained/checkpoint-*")))
        arguments = job.again(folder) if begun else job.arguments(folder)
        return self.runs.start(job.script, arguments, job.settings, file_size)

    def run(self, name: str, folder: Path, file_size: int | None = None) -> End:
        return self.start(name, folder, file_size).end()

    def kill(self, name: str, folder: Path, share: float) -> bool:
        """Run the job for a ``share`` of the seconds that it takes, then kill it; false where it had ended."""
        run = self.start(name, folder)
        run.process.join(share * self.whole(name).seconds)
        return run.kill().code == -signal.SIGKILL

    def interrupt(self, name: str, folder: Path, share: float) -> End:
        """Ctrl-C for the job after a ``share`` of the seconds that it takes; how it ends then."""
        run = self.start(name, folder)
        run.process.join(share * self.whole(name).seconds)
        if run.process.exitcode is None:
            os.kill(run.process.pid, signal.SIGINT)
        return run.end()

    def succeed(self, name: str, folder: Path) -> None:
        """Run the job in ``folder`` to its end; fails where it does not end well."""
        end = self.run(name, folder)
        assert end.code == 0, end.text

    def expect_whole(self, name: str, folder: Path) -> None:
        """The job ends well in ``folder``, with the results of a run that nothing happened to."""
        self.succeed(name, folder)
        assert self.jobs[name].results(folder) == self.whole(name).results

    def whole(self, name: str) -> Whole:
        """A run that nothing happens to; it is made once, but for one before it, which finds caches cold."""
        if name not in self._whole:
            self.succeed(name, self.fresh(name))
            folder, begin = self.fresh(name), time.monotonic()
            self.succeed(name, folder)
            seconds = time.monotonic() - begin
            largest = max(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            self._whole[name] = Whole(self.jobs[name].results(folder), seconds, largest)
        return self._whole[name]
