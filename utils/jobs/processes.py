"""Several processes sharing one job: who takes which item, how far all of them are, what each of them found.

They are started by ``torchrun``, ``accelerate launch`` or anything else that sets RANK, WORLD_SIZE, MASTER_ADDR and
MASTER_PORT, on one machine or several. Items are not dealt out beforehand: each process takes the next one when it
has room for it, so that an item which takes long holds up nobody but its taker. torch.distributed is imported only
where there are several.

Processes that never meet, such as the tasks of a Slurm array, share by a folder that all of them see, which
GEORANKER_SHARED_WORK names: each does what it can take, and a run after them, by itself, does what is left.
"""

import logging
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from utils.jobs import launch_store
from utils.jobs.shared_counters import Counter, FileCounter, MemoryCounter, StoreCounter

T = TypeVar("T")
logger = logging.getLogger(__name__)

FOLDER = "GEORANKER_SHARED_WORK"


@dataclass(frozen=True)
class Processes:
    """The processes that share the work, as a launcher announces them in the environment."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0  # on this machine
    folder: Path | None = None  # that they share by; None: they meet at the store of their launch

    @classmethod
    def from_environment(cls) -> "Processes":
        rank, count, local = (
            int(os.environ.get(name, default)) for name, default in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))
        )
        folder = os.environ.get(FOLDER)
        return cls(rank, count, local, Path(folder) if folder else None)

    @property
    def alone(self) -> bool:
        """Whether there are no others."""
        return self.count == 1 and self.folder is None

    @property
    def concludes(self) -> bool:
        """Whether it is this process that makes the result of what all have done."""
        return self.rank == 0 and self.folder is None

    def counter(self, name: str) -> Counter:
        """A number that all of them and their data workers add to; ``name`` tells several of one run apart."""
        if self.folder is not None:
            return FileCounter(self.folder / name.replace("/", "."))
        if self.alone:
            return MemoryCounter()
        launch_store.join(self.rank)
        return StoreCounter(name)

    def gather(self, value: Any) -> list[Any] | None:
        """The picklable ``value`` of every process, by rank, in the one that concludes; None in the others.

        In place of the value of a process that was lost there is None.
        """
        if self.folder is not None:
            logger.info("a share is done: the same command without %s does what is left and makes the result", FOLDER)
            return None
        if self.alone:
            return [value]
        launch_store.join(self.rank)
        if self.rank > 0:
            launch_store.put(f"found/{self.rank}", pickle.dumps(value))
            return None
        keys = {rank: f"found/{rank}" for rank in range(1, self.count)}
        lost = launch_store.await_keys(keys)
        for rank in sorted(lost):
            logger.warning("process %d of %d is lost: the first one does what is left of its share", rank, self.count)
        others = [None if rank in lost else pickle.loads(launch_store.take(key)) for rank, key in keys.items()]
        return [value, *others]

    def together(self, work: Callable[["Processes"], T]) -> list[T] | None:
        """What ``work`` returns in every process, in the one that concludes; None in the others.

        ``work`` does what is not on disk yet, together with the processes that it is given. Where some of them were
        lost, the one that concludes does it again by itself: its result is then the only one.
        """
        found = self.gather(work(self))
        if found is not None and any(share is None for share in found):
            return [work(Processes(local_rank=self.local_rank))]
        return found

    def wait(self, name: str) -> None:
        """Until every process has come here or is lost; ``name`` tells several such places of one run apart.

        Raises ``ValueError`` where processes never meet.
        """
        if self.folder is not None:
            raise ValueError(
                f"{name}: these processes cannot wait for each other: fill the cache in a run before them, "
                f"without {FOLDER}"
            )
        if not self.alone:
            launch_store.join(self.rank)
            launch_store.put(f"{name}/here/{self.rank}", b"")
            launch_store.await_keys({rank: f"{name}/here/{rank}" for rank in range(self.count)})


class SharedWork(Generic[T]):
    """Items that several processes and their data workers take, each item once.

    ``items`` are the same in all processes; ``name`` tells several works of one run apart.

    >>> work = SharedWork(["a", "b"], Processes(), "letters")
    >>> next(iter(work)), list(work), list(work)
    ('a', ['b'], [])
    """

    def __init__(self, items: Sequence[T], processes: Processes, name: str) -> None:
        self.items = items
        self.taken = processes.counter(f"{name}/taken")
        self.done = processes.counter(f"{name}/done")

    def __iter__(self) -> Iterator[T]:
        while (number := self._next()) < len(self.items):
            yield self.items[number]

    def _next(self) -> int:
        try:
            return self.taken.add(1) - 1
        except ConnectionError:
            # Data workers would say it in a traceback; their process meets the same error at ``finish`` or ``gather``.
            return len(self.items)

    def finish(self, count: int = 1) -> int:
        """Note that ``count`` more items are done; returns how many are, over all processes."""
        return self.done.add(count)
