"""One address, and an end that leaves nobody without an answer."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading

import httpx
import pytest

from tests.commands import ROOT
from tests.served import SECONDS, app_served, until
from utils.web import server
from utils.web.server import listen


def test_it_listens_on_this_machine_alone():
    with app_served() as app:
        assert app.server.listening.getsockname()[0] == "127.0.0.1"
        assert app.url.startswith("http://127.0.0.1:")


def test_a_port_that_is_taken_is_named():
    with listen("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=rf"^--host 127\.0\.0\.1 --port {port}: another program listens there$"):
            listen("127.0.0.1", port)
    with pytest.raises(OSError, match=r"^--host no\.such\.name\.invalid --port 0: "):
        listen("no.such.name.invalid", 0)


def test_who_says_nothing_is_not_listened_to(monkeypatch):
    monkeypatch.setattr(server, "PATIENCE_SECONDS", 0.2)
    with app_served() as app:
        address = ("127.0.0.1", int(app.url.rsplit(":", 1)[1]))
        with (
            socket.create_connection(address, timeout=SECONDS) as silent,
            socket.create_connection(address, SECONDS) as slow,
        ):
            slow.sendall(b"GET /api/health HTTP/1.1\r\nHost: local")
            assert silent.recv(10) == slow.recv(10) == b""
        with socket.create_connection(address, timeout=SECONDS) as idle:
            idle.sendall(b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /api")
            answer = b""
            while part := idle.recv(10_000):
                answer += part
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert app.client.get("/api/health").status_code == 200


def test_who_wants_another_protocol_gets_an_answer_in_this_one(caplog):
    """And the log has no advice to install anything."""
    upgrade = {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
    upgrade["sec-websocket-key"] = "dGhlIHNhbXBsZSBub25jZQ=="
    with app_served() as app:
        response = app.client.get("/api/health", headers=upgrade)
    assert (response.status_code, response.json()["status"]) == (200, "ok")
    assert "WebSocket" not in caplog.text
    assert "pgrade" not in caplog.text


def test_too_many_connections_are_refused(monkeypatch):
    monkeypatch.setattr(server, "CONNECTIONS", 3)
    with app_served() as app:
        address = ("127.0.0.1", int(app.url.rsplit(":", 1)[1]))
        with socket.create_connection(address), socket.create_connection(address), socket.create_connection(address):
            until(lambda: len(app.server.server_state.connections) == 3)
            assert httpx.get(f"{app.url}/api/health", timeout=SECONDS).status_code == 503
        until(lambda: len(app.server.server_state.connections) == 0)
        assert httpx.get(f"{app.url}/api/health", timeout=SECONDS).status_code == 200


def test_who_waits_is_told_when_it_ends():
    answers = []
    with app_served() as app:
        app.finder.gate.clear()
        threads = [threading.Thread(target=lambda: answers.append(app.ask())) for _ in range(3)]
        for thread in threads:
            thread.start()
        app.finder.began.acquire(timeout=SECONDS)
        until(lambda: len(app.server.jobs.waiting) == 2)
        with socket.create_connection(("127.0.0.1", int(app.url.rsplit(":", 1)[1]))) as sending:
            sending.sendall(b"POST /api/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n")
            sending.sendall(b"Content-Type: multipart/form-data; boundary=x\r\n\r\n")
            until(lambda: app.server.jobs.reserved == 1)
            app.server.should_exit = True
            for thread in threads:
                thread.join()
            app.finder.gate.set()
            sending.recv(10)  # it is hung up on
    assert [(answer.status_code, answer.json()) for answer in answers] == [(503, {"error": "the app is stopping"})] * 3
    assert not app.server.jobs.thread.is_alive()


RUN = """
import sys
import app

def load(args):
    from tests.served import StubFinder
    return StubFinder()

app.load = load
sys.exit(app.main(sys.argv[1:]))
"""


def test_ctrl_c_ends_it_in_one_line():
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    options = {"cwd": ROOT, "env": os.environ | {"PYTHONPATH": path}, "text": True}
    command = [sys.executable, "-c", RUN, "--port", "0", "--quiet"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options) as running:
        ready = running.stdout.readline()
        (url,) = re.findall(r"^Ready: (http://127\.0\.0\.1:\d+/) \(Ctrl-C ends it\)$", ready)
        assert httpx.get(f"{url}api/health", timeout=SECONDS).json() == {"status": "ok", "waiting": 0}
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=SECONDS)
    assert (running.returncode, out, err) == (130, "", "stopped\n")
