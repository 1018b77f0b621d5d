"""Several processes sharing one job: who takes which item, how far all of them are, what each of them found.

They are started by ``torchrun``, ``accelerate launch`` or anything else that sets RANK, WORLD_SIZE, MASTER_ADDR and
MASTER_PORT. Items are not dealt out beforehand: each process takes the next one when it has room for it, so that
an item which takes long holds up nobody but its taker. torch.distributed is imported only where there are several.
"""

import functools
import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from torch.distributed import TCPStore

T = TypeVar("T")

START_PATIENCE = timedelta(minutes=30)  # until the first process is there
END_PATIENCE = timedelta(days=7)  # between the first process that is done and the last


@dataclass(frozen=True)
class Processes:
    """The processes that share the work, as a launcher announces them in the environment."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0  # on this machine

    @classmethod
    def from_environment(cls) -> "Processes":
        rank, count, local = (
            int(os.environ.get(name, default)) for name, default in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))
        )
        return cls(rank, count, local)

    def gather(self, value: Any) -> list[Any] | None:
        """The picklable ``value`` of every process, by rank, in process 0; None in the others."""
        if self.count == 1:
            return [value]
        import torch.distributed as dist

        dist.init_process_group("gloo", timeout=END_PATIENCE)
        values = [None] * self.count if self.rank == 0 else None
        dist.gather_object(value, values)
        dist.destroy_process_group()
        return values

    def wait(self, name: str) -> None:
        """Until every process has come here; ``name`` tells several such places of one run apart."""
        here = SharedCounter(self, name)
        here.add(1)
        while here.add(0) < self.count:
            time.sleep(0.1)


class SharedCounter:
    """A number that all processes and their data workers add to.

    One process keeps it in memory that its workers share, several in the key-value store of their launch.
    """

    def __init__(self, processes: Processes, name: str) -> None:
        # A launcher that starts dead processes again starts them with nothing taken.
        self.key = f"{name}/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}"
        self.local = multiprocessing.Value("q") if processes.count == 1 else None
        if processes.count > 1 and processes.rank == 0:
            _serve()

    def add(self, amount: int) -> int:
        """Add ``amount`` and return the sum."""
        if self.local is None:
            return _connect(os.getpid()).add(self.key, amount)
        with self.local.get_lock():
            self.local.value += amount
            return self.local.value


def _address() -> tuple[str, int]:
    return os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])


@functools.cache
def _serve() -> "TCPStore | None":
    """Process 0 serves the store, as in ``init_process_group``, unless torchrun itself does."""
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        return None
    from torch.distributed import TCPStore

    return TCPStore(*_address(), is_master=True, wait_for_workers=False, multi_tenant=True)


@functools.cache
def _connect(process_id: int) -> "TCPStore":
    """This process's connection: a forked worker must not talk through its parent's."""
    from torch.distributed import TCPStore

    return TCPStore(*_address(), is_master=False, wait_for_workers=False, timeout=START_PATIENCE)


class SharedWork(Generic[T]):
    """Items that several processes and their data workers take, each item once.

    ``items`` are the same in all processes; ``name`` tells several works of one run apart.

    >>> work = SharedWork(["a", "b"], Processes(), "letters")
    >>> next(iter(work)), list(work), list(work)
    ('a', ['b'], [])
    """

    def __init__(self, items: Sequence[T], processes: Processes, name: str) -> None:
        self.items = items
        self.taken = SharedCounter(processes, f"{name}/taken")
        self.done = SharedCounter(processes, f"{name}/done")

    def __iter__(self) -> Iterator[T]:
        while (number := self.taken.add(1) - 1) < len(self.items):
            yield self.items[number]

    def finish(self, count: int = 1) -> int:
        """Note that ``count`` more items are done; returns how many are, over all processes."""
        return self.done.add(count)
