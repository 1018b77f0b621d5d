"""Many requests at a time, and the end of a run whose server only fails."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack
from typing import Any, TypeVar

from utils.jobs.signals import ctrl_c_held
from utils.servers.errors import ServerError
from utils.servers.server import Server

T = TypeVar("T")


class Failures:
    """Requests that failed in a row. Raises ``ServerError`` when there are ``most``."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.count = 0

    def note(self, problem: str | None) -> None:
        """That of a request; None for one that was answered."""
        self.count = self.count + 1 if problem else 0
        if self.count == self.most:
            raise ServerError(f"{self.count} requests in a row failed, the last one with {problem}")


async def work_off(
    servers: Sequence[Server], items: Iterable[T], work: Callable[[T], Awaitable[None]], workers: int
) -> None:
    """Do ``work`` for all ``items``, ``workers`` at a time, and close the clients of ``servers``.

    What ``work`` raises ends the run: the first error is raised, and what is under way is cancelled.
    """
    waiting = iter(items)

    async def worker() -> None:
        # All workers draw from one iterator: never more than `workers` items are under way.
        for item in waiting:
            await work(item)

    try:
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            for server in servers:
                await stack.enter_async_context(server.client)
            for _ in range(workers):
                group.create_task(worker())
    except ExceptionGroup as errors:
        # The first one ended the run; the others are what its end did to their requests.
        raise errors.exceptions[0] from None


def run_to_end(asking: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine for those who have no event loop."""
    with ctrl_c_held():  # in the middle of this it would leave half a loop, which complains
        runner = asyncio.Runner()
        runner.get_loop()
    with runner:
        try:
            runner.run(asking)
        finally:
            asking.close()
