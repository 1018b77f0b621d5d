"""An OpenAI-compatible server on this machine that answers what a test wants, and fails as servers do."""

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

Record = dict[str, Any]


def free_port() -> int:
    """A port of this machine that nothing listens at."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


class Response(NamedTuple):
    """What the server answers: a body, and what goes wrong with it."""

    status: int
    body: Record | str | bytes  # a record is sent as JSON, a text or bytes as they are
    headers: Mapping[str, str] = {"Retry-After-Ms": "1"}  # keeps tests of repeated requests short
    delay: float = 0.0  # seconds of silence before the answer
    cut: bool = False  # the connection breaks in the middle of the body
    drip: float = 0.0  # seconds between any two bytes of the body
    times: int = 1  # the body is sent so often, one after the other


class Server(ThreadingHTTPServer):
    """Answers request number n (from 1) with ``respond(its body, n)``: a ``Response`` or its first fields."""

    request_queue_size = 128

    def __init__(self, respond: Callable[[Record, int], tuple]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.respond = respond
        self.paths: list[str] = []
        self.bodies: list[Record] = []
        self.authorizations: list[str] = []
        self.sent = 0  # bytes of bodies that clients took
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, *args: object) -> None:
        """A client that hung up is part of the test."""


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.paths.append(self.path)
            self.server.bodies.append(body)
            self.server.authorizations.append(self.headers["Authorization"])
            number = len(self.server.bodies)
        response = Response(*self.server.respond(body, number))
        self.server.stopping.wait(response.delay)
        record = isinstance(response.body, dict)
        text = json.dumps(response.body) if record else response.body
        data = text.encode() if isinstance(text, str) else text
        self.send_response(response.status)
        self.send_header("Content-Type", "application/json" if record else "text/html")
        self.send_header("Content-Length", str(response.times * len(data)))
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = response.cut
        self._send(data[: len(data) // 2] if response.cut else data, response)

    def _send(self, data: bytes, response: Response) -> None:
        for _ in range(response.times):
            for piece in (bytes([byte]) for byte in data) if response.drip else (data,):
                self.wfile.write(piece)
                with self.server.lock:
                    self.server.sent += len(piece)
                if response.drip and self.server.stopping.wait(response.drip):
                    return

    def log_message(self, *args: object) -> None:
        """Says nothing."""


@contextmanager
def serving(respond: Callable[[Record, int], tuple]) -> Iterator[Server]:
    """A server that runs inside the block."""
    with Server(respond) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.stopping.set()
            server.shutdown()
            thread.join()


def completion(*contents: str | list | None, finish: str = "stop", **fields: Any) -> Response:
    """A chat completion with these choices, all of which ``finish`` alike, and more ``fields`` of its body."""
    choices = [
        {"index": i, "finish_reason": finish, "message": {"role": "assistant", "content": content}}
        for i, content in enumerate(contents)
    ]
    record = {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": choices}
    return Response(200, record | fields)
