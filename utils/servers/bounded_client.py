"""Requests to servers that may answer slowly and without end: bounded in time and in size, answer included."""

import asyncio
from typing import Any

import openai

# Of a decoded body. An answer takes kilobytes; no more than one piece (1 MiB) beyond this is ever in memory.
MAX_BODY = 8 * 2**20


class BadAnswer(openai.OpenAIError):
    """The server says it succeeded, but its answer is none: not yet, not whole, or not at all."""


class BoundedClient(openai.DefaultAsyncHttpxClient):
    """The client's own, but a request with its answer and all redirects takes at most ``seconds``.

    An answer that is not there by then, or is longer than ``MAX_BODY``, raises ``BadAnswer`` and is not read to its
    end, whatever its status.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(timeout=seconds)
        self.seconds = seconds

    async def send(self, request: Any, **options: Any) -> Any:
        """The response to a request, read and decoded."""
        try:
            async with asyncio.timeout(self.seconds):
                return await self._follow(request, options | {"stream": True, "follow_redirects": False})
        except TimeoutError:
            raise BadAnswer(f"no whole answer within {self.seconds:g} s") from None

    async def _follow(self, request: Any, options: dict[str, Any]) -> Any:
        # Not left to the client, which would read the bodies of redirects to their end.
        for _ in range(self.max_redirects + 1):
            response = await self._read(await super().send(request, **options))
            if response.next_request is None:
                return response
            request = response.next_request
        raise BadAnswer(f"more than {self.max_redirects} redirects")

    async def _read(self, response: Any) -> Any:
        body = bytearray()
        try:
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > MAX_BODY:
                    raise BadAnswer(f"the response is longer than {MAX_BODY >> 20} MiB")
        finally:
            await response.aclose()
        headers = response.headers.copy()
        headers.pop("content-encoding", None)
        whole = type(response)(response.status_code, headers=headers, content=bytes(body), request=response.request)
        whole.next_request = response.next_request
        return whole
