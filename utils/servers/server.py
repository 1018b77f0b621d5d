"""A server that is asked over HTTP, by the rules of OpenAI's protocol.

The official client sits out what passes by itself: it asks again after 408, 409, 429, 5xx, time-outs and broken
connections, backing off from 0.5 to 8 seconds with jitter, or as long as Retry-After says (seconds or a date,
up to two minutes). Added here: answers that are none, too long or too late are asked for again, the key is masked in
all that comes back, and it is known where going on is pointless.
"""

import asyncio
import itertools
import random
import re
from collections.abc import Awaitable, Callable
from typing import TypeVar
from urllib.parse import urlsplit

import openai

from utils.servers.bounded_client import BadAnswer, BoundedClient
from utils.servers.errors import ServerError
from utils.servers.mask import Mask

T = TypeVar("T")

# Errors that every further request would meet as well.
HOPELESS = (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError)
MESSAGE = 300  # characters of what a server says that are shown


def server_root(url: str, *endings: str) -> str:
    """The address of a server, given with or without one of ``endings``, such as ``/chat/completions``.

    Raises ``ValueError`` for what is no http address, without the user and password that it may have.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and url.isprintable()
    except ValueError:  # the port is no number
        usable = False
    if not usable:
        raise _no_address(url)
    root = url.rstrip("/")
    for ending in endings:
        root = root.removesuffix(ending)
    return root


def _no_address(url: str) -> ValueError:
    shown = re.sub(r"//.*@", "//[key]@", url, flags=re.DOTALL)
    return ValueError(f"base_url {shown!r} is no address such as https://host/v1")


def _bounded_client(timeout: float, root: str | None) -> BoundedClient:
    """A client for ``root``. Raises ``ValueError`` where that is no address by its rules, such as those for hosts."""
    client = BoundedClient(timeout)
    try:
        if root is not None:
            client.build_request("POST", root)
    except Exception:  # of the HTTP library that the official client brings
        raise _no_address(root) from None
    return client


class Server:
    """A server and how it is asked; its key never enters a message."""

    def __init__(self, root: str | None, api_key: str | None, timeout: float, max_retries: int) -> None:
        """``api_key`` defaults to OPENAI_API_KEY of the environment, ``root`` (see ``server_root``) to OpenAI's.

        Args:
            timeout: seconds that a request may take, its whole answer included.
            max_retries: how often a request is repeated.

        Raises ``ValueError`` when there is no key, or when key or address are unusable.
        """
        try:
            self.client = openai.AsyncOpenAI(
                api_key=api_key,
                base_url=root,
                timeout=timeout,
                max_retries=max_retries,
                http_client=_bounded_client(timeout, root),
            )
        except openai.OpenAIError as error:
            raise ValueError("no API key: set OPENAI_API_KEY, to any word for a server that asks for none") from error
        key = self.client.api_key
        if not key.strip() or not key.isascii() or not key.isprintable():
            raise ValueError("the API key is empty or holds characters that no key has")
        self.mask = Mask.of(key, root)
        self.max_retries = max_retries

    async def ask(self, request: Callable[[], Awaitable[str]], read: Callable[[str], T]) -> T:
        """What ``read`` makes of the body that ``request`` gets; after a ``BadAnswer`` of either it is asked again.

        Raises ``openai.OpenAIError`` when the server does not give it.
        """
        for attempt in itertools.count():
            try:
                return read(await request())
            except BadAnswer:
                if attempt == self.max_retries:
                    raise
                await asyncio.sleep(min(0.5 * 2**attempt, 8.0) * random.uniform(0.75, 1))

    def code(self, error: openai.OpenAIError) -> str | None:
        """The code of an error, such as ``content_filter``, where its server gives one.

        Raises ``ServerError`` for one that every other request would meet as well.
        """
        code = error.code if isinstance(error, openai.APIError) else None
        if isinstance(error, HOPELESS) or code == "insufficient_quota":
            raise ServerError(self.explain(error)) from None
        return code

    def explain(self, error: openai.OpenAIError) -> str:
        """What went wrong, in one line, without the key, which some servers repeat in their messages."""
        told = [str(error.__cause__ or ""), str(self.client.base_url)]  # openai says no more than "Connection error."
        more = f" ({'; '.join(filter(None, told))})" if isinstance(error, openai.APIConnectionError) else ""
        message = self.mask(f"{type(error).__name__}: {error}{more}")  # before it is cut, which may leave half a key
        shown = message if len(message) <= MESSAGE else message[:MESSAGE] + "..."
        return "".join(sign if sign.isprintable() else " " for sign in shown)
