"""An OpenAI-compatible server on this machine that answers what a test wants."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Record = dict[str, Any]


class Server(ThreadingHTTPServer):
    """Answers request number n (from 1) with ``respond(its body, n)``, an HTTP status and a record."""

    def __init__(self, respond: Callable[[Record, int], tuple[int, Record]]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.respond = respond
        self.bodies: list[Record] = []
        self.authorizations: list[str] = []
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.bodies.append(body)
            self.server.authorizations.append(self.headers["Authorization"])
            number = len(self.server.bodies)
        status, record = self.server.respond(body, number)
        data = json.dumps(record).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Retry-After-Ms", "1")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        """Says nothing."""


@contextmanager
def serving(respond: Callable[[Record, int], tuple[int, Record]]) -> Iterator[Server]:
    """A server that runs inside the block."""
    with Server(respond) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def completion(*contents: str | None) -> tuple[int, Record]:
    """The response of a chat completion with these choices."""
    choices = [
        {"index": i, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}
        for i, content in enumerate(contents)
    ]
    return 200, {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": choices}
