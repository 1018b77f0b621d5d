"""What arrives is bounded while it arrives, and stays in memory."""

import asyncio
import contextlib
import socket
import tempfile
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.served import SECONDS, app_served, png
from utils.web import server, upload
from utils.web.jobs import Jobs

LIMIT = 300_000


@pytest.fixture(scope="module")
def app():
    with app_served(max_upload_bytes=LIMIT) as served:
        yield served


def body(photo: bytes, more: bytes = b"") -> bytes:
    """A form with one photo."""
    head = b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a.png"\r\n\r\n'
    return head + photo + b"\r\n" + more + b"--x--\r\n"


def pieces(data: bytes) -> Iterator[bytes]:
    """Sent in chunks, whose sum no header says."""
    for start in range(0, len(data), 65536):
        yield data[start : start + 65536]


def post(app, content, **headers) -> httpx.Response:
    headers = {"content-type": "multipart/form-data; boundary=x"} | headers
    return app.client.post("/api/locate", content=content, headers=headers)


def padded(size: int) -> bytes:
    """A photo of so many bytes."""
    return png() + bytes(size - len(png()))


@pytest.mark.parametrize("send", [lambda data: data, pieces], ids=["length", "chunks"])
def test_the_limit_is_exact(app, send):
    assert post(app, send(body(padded(LIMIT)))).status_code == 200
    for size in (LIMIT + 1, LIMIT + 10_000, 40 * LIMIT):
        response = post(app, send(body(padded(size))))
        assert response.status_code == 413
        assert response.json() == {"error": "the photo is larger than 0.286102 MB"}


def test_a_body_without_an_end_is_cut_off(app, monkeypatch):
    monkeypatch.setattr(server, "PATIENCE_SECONDS", 0.2)
    sent = []

    def endless() -> Iterator[bytes]:
        yield body(b"").removesuffix(b"\r\n--x--\r\n")
        while len(sent) < 10_000:
            sent.append(1)
            time.sleep(0.001)
            yield bytes(65536)

    with contextlib.suppress(httpx.TransportError):  # it hangs up, and the answer may be lost on the way
        assert post(app, endless()).status_code == 413
    assert len(sent) < 10_000


FIELD = b'--x\r\nContent-Disposition: form-data; name="decode"\r\n\r\n%s\r\n'
FILE = b'--x\r\nContent-Disposition: form-data; name="photo"; filename="b.png"\r\n\r\nb\r\n'


@pytest.mark.parametrize(
    ("content", "headers", "status", "words"),
    [
        (body(png(), FILE), {}, 400, "Too many files"),
        (body(png(), 17 * (FIELD % b"argmax")), {}, 400, "Too many fields"),
        (body(png(), FIELD % bytes(2000)), {}, 400, "exceeded maximum size"),
        (FIELD % b"argmax" + b"--x--\r\n", {}, 422, "one file, `photo`"),
        (body(png()).replace(b'"photo"', b'"image"'), {}, 422, "one file, `photo`"),
        (b"no form", {}, 400, "the form cannot be read"),
        (b"", {}, 422, "one file"),
        (body(png()), {"content-type": "multipart/form-data"}, 400, "boundary"),
        (body(png()), {"content-type": "multipart/form-data; boundary=x; charset=undefined"}, 400, "charset"),
        (png(), {"content-type": "image/png"}, 415, "multipart/form-data"),
    ],
    ids=["files", "fields", "field", "none", "other", "text", "empty", "boundary", "charset", "type"],
)
def test_what_is_no_form_with_a_photo_is_refused(app, content, headers, status, words):
    response = post(app, content, **headers)
    assert response.status_code == status
    assert words in response.json()["error"]


def connected(app) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(app.url.rsplit(":", 1)[1])), timeout=SECONDS)


HEAD = (
    b"POST /api/locate HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000\r\n\r\n"
)


def test_who_sends_too_slowly_is_told(app, monkeypatch):
    monkeypatch.setattr(upload, "BODY_SECONDS", 0.2)
    with connected(app) as slow:
        slow.sendall(HEAD + body(png())[:50])
        assert slow.recv(1000).startswith(b"HTTP/1.1 408 ")
    assert app.server.jobs.reserved == 0


def test_who_breaks_off_leaves_nothing(app):
    with connected(app) as broken:
        broken.sendall(HEAD + body(png())[:50])
    assert post(app, body(png())).status_code == 200
    assert app.server.jobs.reserved == 0


def test_uploads_that_are_on_their_way_have_their_places():
    jobs = Jobs(lambda job: {}, 2)
    with jobs.place(), jobs.place(), pytest.raises(upload.Problem, match="2 photos are waiting"), jobs.place():
        pass
    assert jobs.reserved == 0
    jobs.close()


def test_nothing_is_written_to_the_disk_whatever_its_size(monkeypatch):
    def refused(*arguments, **options):
        raise AssertionError("a file")

    monkeypatch.setattr(tempfile, "TemporaryFile", refused)  # which spooled files become

    async def parsed() -> upload.Upload:
        sent = iter([{"type": "http.request", "body": body(padded(5_000_000)), "more_body": False}])

        async def receive() -> dict:
            return next(sent)

        headers = [(b"content-type", b"multipart/form-data; boundary=x")]
        request = upload.Request({"type": "http", "method": "POST", "headers": headers}, receive)
        return await upload.read_upload(request, 10**7)

    assert len(asyncio.run(parsed()).data) == 5_000_000
