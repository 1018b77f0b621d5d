"""The key-value store that the processes of one launch meet at, and which of them are still there.

torchrun and accelerate serve it on their first machine; for other launchers process 0 does. Every process counts up a
number of its own there as long as it lives, so that the others see when it is lost: killed, or its whole machine.
"""

import atexit
import functools
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch.distributed import TCPStore

T = TypeVar("T")
logger = logging.getLogger(__name__)

START_PATIENCE = timedelta(minutes=30)  # until the first process is there
BEAT = 5.0  # seconds between two signs of life
SILENCE = 60.0  # seconds without one, after which a process counts as lost
POLL = 0.1  # seconds between two looks at the store
PIECE = 4 * 2**20  # bytes; the store takes no values above 8 MiB


def add(key: str, amount: int) -> int:
    """Add ``amount`` to the number ``key`` and return the sum. Raises ``ConnectionError`` where the store is gone."""
    return _asked(lambda store: store.add(_of_this_start(key), amount))


def put(key: str, value: bytes) -> None:
    """Store a value of any length. Raises ``ConnectionError`` where the store is gone."""
    pieces = [value[start : start + PIECE] for start in range(0, len(value), PIECE)]
    for number, piece in enumerate(pieces):
        _asked(lambda store, number=number, piece=piece: store.set(f"{_of_this_start(key)}/{number}", piece))
    _asked(lambda store: store.set(_of_this_start(key), str(len(pieces))))  # last: then all of it is there


def take(key: str) -> bytes:
    """The value that somebody has ``put``; its pieces leave the store."""
    count = int(_asked(lambda store: store.get(_of_this_start(key))))
    names = [f"{_of_this_start(key)}/{number}" for number in range(count)]
    value = b"".join(_asked(lambda store, name=name: store.get(name)) for name in names)
    for name in names:
        _asked(lambda store, name=name: store.delete_key(name))
    return value


def join(rank: int) -> None:
    """Serve the store where that is up to this process, and give signs of life from now on."""
    if rank == 0:
        _serve()
    _give_signs(rank)


def await_keys(keys: dict[int, str]) -> set[int]:
    """Wait until the key of each rank is in the store; returns the ranks that were lost without it."""
    seen: dict[int, tuple[int, float]] = {}
    lost: set[int] = set()
    looked = time.monotonic()
    while waiting := keys.keys() - lost:
        if _has(keys[rank] for rank in waiting):
            break
        time.sleep(POLL)
        if time.monotonic() - looked > BEAT:
            looked = time.monotonic()
            lost |= {rank for rank in waiting if not _has([keys[rank]]) and _silent(rank, seen)}
    return lost


def _silent(rank: int, seen: dict[int, tuple[int, float]]) -> bool:
    """Whether a process has given no sign for too long; ``seen``: its last one, and when that was new."""
    sign, now = add(f"alive/{rank}", 0), time.monotonic()
    if rank not in seen or seen[rank][0] != sign:
        seen[rank] = sign, now
    return now - seen[rank][1] > SILENCE


def _has(keys: Iterable[str]) -> bool:
    names = [_of_this_start(key) for key in keys]
    return _asked(lambda store: store.check(names))


def _of_this_start(key: str) -> str:
    # A launcher that starts dead processes again starts them with nothing taken.
    return f"{key}/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}"


def _address() -> tuple[str, int]:
    return os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])


@functools.cache
def _serve() -> "TCPStore | None":
    """Process 0 serves the store, as in ``init_process_group``, unless torchrun itself does."""
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        return None
    from torch.distributed import TCPStore

    return TCPStore(*_address(), is_master=True, wait_for_workers=False, multi_tenant=True)


def _client() -> "TCPStore":
    from torch.distributed import TCPStore

    return TCPStore(*_address(), is_master=False, wait_for_workers=False, timeout=START_PATIENCE)


@functools.cache
def _connect(process_id: int) -> "TCPStore":
    """This process's connection: a forked worker must not talk through its parent's."""
    return _client()


def _asked(question: "Callable[[TCPStore], T]") -> T:
    try:
        return question(_connect(os.getpid()))
    except RuntimeError:  # what the store raises, whatever it is
        host, port = _address()
        raise ConnectionError(
            f"the first process, or its launcher at {host}:{port}, is gone: start all again, what is done is kept"
        ) from None


@functools.cache
def _give_signs(rank: int) -> None:
    """Begin to count up this process's number, in a thread, until the process ends."""
    ended = threading.Event()
    store = _client()  # of its own: the other may be busy

    def signs() -> None:
        while not ended.wait(BEAT):
            try:
                store.add(_of_this_start(f"alive/{rank}"), 1)
            except RuntimeError:  # the store is gone: whoever needs it says so
                return

    thread = threading.Thread(target=signs, daemon=True)
    thread.start()

    @atexit.register
    def end() -> None:
        ended.set()
        thread.join(1)
