import asyncio
import gzip
from collections.abc import Callable

import pytest

from tests.loopback import Response, Server, completion, serving
from utils.servers import bounded_client
from utils.servers.bounded_client import MAX_BODY, BadAnswer, BoundedClient


def post(server: Server, seconds: float = 60) -> tuple[int, str]:
    """Status and text of a response."""

    async def ask() -> tuple[int, str]:
        async with BoundedClient(seconds) as client:
            response = await client.post(f"{server.url}/chat", json={})
            return response.status_code, response.text

    return asyncio.run(ask())


def post_one(respond: Callable[[dict, int], tuple], seconds: float = 60) -> tuple[int, str]:
    with serving(respond) as server:
        return post(server, seconds)


@pytest.mark.parametrize("status", [200, 500])
def test_a_server_that_drips_is_bounded(status: int) -> None:
    """It is never silent for long."""
    drip = Response(status, "yes" * 1000, drip=0.05)
    with pytest.raises(BadAnswer, match=r"no whole answer within 0\.4 s"):
        post_one(lambda body, number: drip, 0.4)
    assert post_one(lambda body, number: Response(status, "yes", drip=0.01)) == (status, "yes")


@pytest.mark.parametrize("status", [200, 401, 307])
def test_a_huge_body_is_not_read_to_its_end(status: int) -> None:
    huge = Response(status, "x" * 2**20, {"Location": "/elsewhere"}, times=1000)
    with serving(lambda body, number: huge) as server:
        with pytest.raises(BadAnswer, match="the response is longer than 8 MiB"):
            post(server)
        assert server.sent < 100 * 2**20  # what buffers take is beyond the client


def test_bodies_of_up_to_the_limit_are_read(monkeypatch) -> None:
    monkeypatch.setattr(bounded_client, "MAX_BODY", 1000)
    assert post_one(lambda body, number: (200, "x" * 1000)) == (200, "x" * 1000)
    with pytest.raises(BadAnswer):
        post_one(lambda body, number: (200, "x" * 1001))


def test_a_compressed_body_counts_as_what_it_decodes_to() -> None:
    def packed(text: bytes) -> Response:
        return Response(200, gzip.compress(text, 1), {"Content-Encoding": "gzip"})

    assert post_one(lambda body, number: packed(b"x" * MAX_BODY)) == (200, "x" * MAX_BODY)
    with pytest.raises(BadAnswer, match="the response is longer than 8 MiB"):
        post_one(lambda body, number: packed(b"x" * (MAX_BODY + 1)))


def test_redirects_are_followed_a_bounded_number_of_times() -> None:
    def respond(body: dict, number: int) -> Response:
        return completion("yes") if number == 3 else Response(308, "moved", {"Location": f"/v1/{number}"})

    with serving(respond) as server:
        status, text = post(server)
    assert (status, "yes" in text) == (200, True)
    assert server.paths == ["/v1/chat", "/v1/1", "/v1/2"]
    with pytest.raises(BadAnswer, match="more than 20 redirects"):
        post_one(lambda body, number: Response(308, "moved", {"Location": "/v1/there"}))
