import json
import os
import time
from pathlib import Path

import pytest
from torch.utils.data import DataLoader, IterableDataset

from tests.forks import ended, start
from tests.loopback import free_port
from utils.jobs.processes import Processes, SharedWork


def test_processes_from_environment(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert Processes.from_environment() == Processes(0, 1, 0)
    assert Processes().gather("value") == ["value"]
    for name, value in (("RANK", "5"), ("WORLD_SIZE", "8"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    assert Processes.from_environment() == Processes(5, 8, 1)


class Taken(IterableDataset):
    """(process, item) for the items that a data worker takes."""

    def __init__(self, work: SharedWork):
        self.work = work

    def __iter__(self):
        for item in self.work:
            yield os.getpid(), item


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_data_workers_take_each_item_once(workers):
    work = SharedWork(range(50), Processes(), "items")
    taken = list(DataLoader(Taken(work), batch_size=None, num_workers=workers, in_order=False))
    assert sorted(item for _, item in taken) == list(range(50))
    assert list(work) == []
    assert [work.finish(3), work.finish()] == [3, 4]


def taker(rank: int, port: int, folder: Path, workers: int) -> None:
    """One process without a launcher's store; process 1 is stuck with its first item until the rest is done."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "WORLD_SIZE": "2"}
    processes = Processes.from_environment()
    work = SharedWork(range(30), processes, "items")
    if rank == 0:
        # Process 1 has taken its item before this one starts.
        while not (folder / "stuck").exists():
            time.sleep(0.01)
    taken = []
    for _, item in DataLoader(Taken(work), batch_size=None, num_workers=workers):
        taken.append(int(item))
        if rank == 1:
            (folder / "stuck").touch()
            while work.finish(0) < 29 - 2 * workers:
                time.sleep(0.01)
        work.finish()
    processes.wait("the end")
    found = processes.gather((taken, work.finish(0)))
    if rank == 0:
        (folder / "found.json").write_text(json.dumps(found))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_slow_process_does_not_idle_the_other(tmp_path, workers):
    log, port = tmp_path / "log", free_port()
    started = [start(taker, rank, port, tmp_path, workers, log=log) for rank in (1, 0)]
    assert ended(started) == [0, 0], log.read_text()
    (first, done), (second, _) = json.loads((tmp_path / "found.json").read_text())
    assert sorted(first + second) == list(range(30))
    assert done == 30
    assert len(second) <= 1 + 2 * workers  # a data worker reads two items ahead
