"""The server: one address, one process, and an end at Ctrl-C that loses nobody's answer without a word."""

import asyncio
import errno
import logging
import os
import socket
from asyncio import Transport
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from utils.web.application import application
from utils.web.hosts import WILDCARDS, names, url, url_for_others
from utils.web.jobs import Jobs
from utils.web.locating import Finds, Worker

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 15  # in which a connection has to have its first or next request
CONNECTIONS = 128
END_SECONDS = 10  # of the photo that is located while the app ends


class _Protocol(H11Protocol):
    """Hangs up on who says nothing, or says slowly what they want, or goes on sending what was refused.

    Who wants another protocol gets an answer in this one, as RFC 9110, 7.8 allows.
    """

    def connection_made(self, transport: Transport) -> None:
        super().connection_made(transport)
        self._expect_request()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._expect_request()

    def _should_upgrade(self) -> bool:
        return False

    def _expect_request(self) -> None:
        """The next one, in time; until it has a head, ``cycle`` is that of the one before."""
        self.loop.call_later(PATIENCE_SECONDS, self._give_up, self.cycle)

    def _give_up(self, before: RequestResponseCycle | None) -> None:
        if self.cycle is before:
            self.transport.close()


class Server(uvicorn.Server):
    """The app at one address. Says when it is ready, and ends the queue before it ends."""

    def __init__(self, config: uvicorn.Config, jobs: Jobs, listening: socket.socket, host: str) -> None:
        super().__init__(config)
        self.jobs, self.listening, self.host = jobs, listening, host
        self.port = listening.getsockname()[1]
        self.url = url(host, self.port)

    @classmethod
    def of(
        cls,
        finder: Finds,
        listening: socket.socket,
        host: str,
        *,
        max_queue: int,
        max_upload_bytes: int,
        max_pixels: int,
        keep: str | os.PathLike | None = None,
    ) -> "Server":
        """With what ``finder`` finds, at a socket of ``listen``; ``keep`` is the folder that photos are written to."""
        jobs = Jobs(Worker(finder, max_pixels, None if keep is None else Path(keep)), max_queue)
        allowed = {"hosts": names(host), "any_address": host in WILDCARDS}
        app = application(jobs, finder.offer, max_upload_bytes, max_pixels, **allowed, kept=keep is not None)
        config = uvicorn.Config(
            app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=CONNECTIONS,
            timeout_keep_alive=PATIENCE_SECONDS,
        )
        logging.getLogger("uvicorn").setLevel(logging.WARNING)
        return cls(config, jobs, listening, host)

    def work(self) -> None:
        """Serve until a signal ends it; Ctrl-C goes on from here."""
        try:
            self.run(sockets=[self.listening])
        finally:
            self.jobs.close()
            self.jobs.thread.join(END_SECONDS)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        others = url_for_others(self.host, self.port) if self.host in WILDCARDS else None
        print(f"Ready: {self.url}{f', for others {others}' if others else ''} (Ctrl-C ends it)", flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.jobs.close()  # whoever waits for a place is told
        asyncio.get_running_loop().call_later(0.5, self._hang_up)
        await super().shutdown(sockets)

    def _hang_up(self) -> None:
        """On who is still sending, or has not read the answer."""
        for connection in self.server_state.connections:
            connection.transport.close()


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to the address, at which nobody is listened to yet. ``OSError`` where that cannot be."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
        except OSError:
            listening.close()
            raise
    except OSError as error:
        why = "another program listens there" if error.errno == errno.EADDRINUSE else error.strerror or error
        raise OSError(f"--host {host} --port {port}: {why}") from None
    return listening
