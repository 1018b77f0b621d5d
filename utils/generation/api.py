"""Places guessed by a model behind a server that speaks OpenAI's chat protocol.

The official client sits out what passes by itself: it asks again after 408, 409, 429, 5xx, time-outs and broken
connections, backing off from 0.5 to 8 seconds with jitter, or as long as Retry-After says (seconds or a date,
up to two minutes). Added here: answers that are no completion, too long or too late are asked for again, servers that
give fewer choices than asked for are asked for the rest, those that refuse more than one choice for one at a time, the
key is masked in all that comes back, and a run ends where going on is pointless.
"""

import asyncio
import base64
import io
import itertools
import os
import random
import re
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

import openai
from PIL import Image

from utils.generation.bounded_client import BoundedClient
from utils.generation.completion import Answer, BadCompletion, Completion, read_completion
from utils.generation.journal import Reply
from utils.generation.mask import Mask
from utils.jobs.signals import ctrl_c_held
from utils.model.prompts import GENERATION_PROMPT
from utils.photos.images import ImageError
from utils.photos.store import ImageStore

# What one photo costs with OpenAI at detail "low", whatever its size; other servers count differently.
LOW_DETAIL_TOKENS = 85
CHARACTERS_PER_TOKEN = 4  # of English text and numbers, roughly

# Errors that every further request would meet as well.
HOPELESS = (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError)
# Codes by which servers refuse a photo with an error instead of an empty answer.
REFUSALS = ("content_filter", "content_policy_violation")
MESSAGE = 300  # characters of what a server says that are shown


class ServerError(RuntimeError):
    """What keeps a server from answering for any photo."""


def encode_photo(image: Image.Image, max_side: int) -> str:
    """The data URL of an RGB photo as JPEG, its longer side at most ``max_side`` pixels."""
    image = image.copy()
    image.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def api_root(url: str) -> str:
    """The address under which ``/chat/completions`` lies, given with or without that ending.

    Raises ``ValueError`` for what is no http address, without the user and password that it may have.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and url.isprintable()
    except ValueError:  # the port is no number
        usable = False
    if not usable:
        raise _no_address(url)
    return url.rstrip("/").removesuffix("/chat/completions")


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


def chat_request(model: str, photo: str, count: int, **settings: float) -> dict[str, Any]:
    """The body that asks ``model`` for ``count`` answers about a photo (data URL)."""
    content = [
        {"type": "text", "text": GENERATION_PROMPT},
        {"type": "image_url", "image_url": {"url": photo, "detail": "low"}},
    ]
    return {"model": model, "messages": [{"role": "user", "content": content}], "n": count, **settings}


class ApiModel:
    """A model behind a server; all answers are sampled. Its key never enters a message or an answer."""

    def __init__(
        self,
        name: str,
        api_key: str | None = None,
        base_url: str | None = None,
        num_samples: int = 10,
        temperature: float = 1.2,
        max_tokens: int = 200,
        max_side: int = 1024,
        timeout: float = 120.0,
        max_retries: int = 6,
    ) -> None:
        """``api_key`` and ``base_url`` default to OPENAI_API_KEY and OPENAI_BASE_URL of the environment.

        Args:
            max_side: larger photos are reduced to this many pixels before they are sent.
            timeout: seconds that a request may take, its whole answer included.
            max_retries: how often a request is repeated.

        Raises ``ValueError`` when there is no key, or when key or address are unusable.
        """
        base_url = base_url or os.environ.get("OPENAI_BASE_URL")
        root = api_root(base_url) if base_url else None
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
        self.name = name
        self.num_samples = num_samples
        self.at_once = num_samples
        self.settings = {"temperature": temperature, "max_tokens": max_tokens}
        self.max_side = max_side
        self.max_retries = max_retries

    async def answers(self, photo: str) -> tuple[list[Answer], int]:
        """``num_samples`` answers about a photo (data URL), and the tokens that they cost.

        Raises ``openai.OpenAIError`` when the server does not give them.
        """
        answers: list[Answer] = []
        tokens = 0
        # Some servers give one choice whatever n says, so this takes at most num_samples requests.
        while len(answers) < self.num_samples:
            more = await self._ask(photo, min(self.at_once, self.num_samples - len(answers)))
            answers += more.answers[: self.num_samples - len(answers)]
            tokens += estimated_tokens(more) if more.tokens is None else more.tokens
        return answers, tokens

    async def _ask(self, photo: str, count: int) -> Completion:
        request = chat_request(self.name, photo, count, **self.settings)
        for attempt in itertools.count():
            try:
                response = await self.client.chat.completions.with_raw_response.create(**request)
                return read_completion(response.text)
            except openai.BadRequestError as error:
                if count == 1 or error.code in REFUSALS:
                    raise
                one = await self._ask(photo, 1)
                self.at_once = 1  # it was n that the server took offence at
                return one
            except BadCompletion:
                if attempt == self.max_retries:
                    raise
                await asyncio.sleep(min(0.5 * 2**attempt, 8.0) * random.uniform(0.75, 1))

    async def reply(self, img_id: str, photo: str) -> Reply:
        """What the server says about a photo (data URL), or why it says nothing.

        Raises ``ServerError`` for errors that every other photo would meet as well.
        """
        try:
            answers, tokens = await self.answers(photo)
            texts = tuple(self.mask(answer.text) for answer in answers)
            cut = tuple(number for number, answer in enumerate(answers) if answer.cut)
            return Reply(img_id, texts, tokens=tokens, cut=cut)
        except openai.OpenAIError as error:
            code = error.code if isinstance(error, openai.APIError) else None
            if isinstance(error, HOPELESS) or code == "insufficient_quota":
                raise ServerError(self.explain(error)) from None
            if code in REFUSALS:
                return Reply(img_id, ("",) * self.num_samples)
            return Reply(img_id, problem=f"{img_id}: {self.explain(error)}")

    def explain(self, error: openai.OpenAIError) -> str:
        """What went wrong, in one line, without the key, which some servers repeat in their messages."""
        where = f" ({self.client.base_url})" if isinstance(error, openai.APIConnectionError) else ""
        message = self.mask(f"{type(error).__name__}: {error}{where}")  # before it is cut, which may leave half a key
        shown = message if len(message) <= MESSAGE else message[:MESSAGE] + "..."
        return "".join(sign if sign.isprintable() else " " for sign in shown)


def estimated_tokens(completion: Completion) -> int:
    """What a request cost whose server does not say so."""
    characters = len(GENERATION_PROMPT) + sum(len(answer.text) for answer in completion.answers)
    return LOW_DETAIL_TOKENS + characters // CHARACTERS_PER_TOKEN


def ask_all(
    model: ApiModel, image_ids: Iterable[str], store: ImageStore, done: Callable[[Reply], None], workers: int = 8
) -> None:
    """``ask_api`` to its end, for those who have no event loop."""
    with ctrl_c_held():  # in the middle of this it would leave half a loop, which complains
        runner = asyncio.Runner()
        runner.get_loop()
    with runner:
        asking = ask_api(model, image_ids, store, done, workers)
        try:
            runner.run(asking)
        finally:
            asking.close()


async def ask_api(
    model: ApiModel,
    image_ids: Iterable[str],
    store: ImageStore,
    done: Callable[[Reply], None],
    workers: int = 8,
) -> None:
    """Ask ``model`` about photos, ``workers`` at a time, and hand each reply to ``done`` as it arrives.

    Raises ``ServerError`` when going on is pointless: the server refuses key or model, or the photos of ten
    rounds in a row all failed. What ``done`` raises ends the run, too.
    """
    waiting = iter(image_ids)
    failures = 0

    async def worker() -> None:
        nonlocal failures
        # All workers draw from one iterator: never more than `workers` photos are in memory.
        for img_id in waiting:
            try:
                # In a thread, because decoding takes long enough to hold up the other requests.
                photo = await asyncio.to_thread(lambda name: encode_photo(store.open(name), model.max_side), img_id)
            except ImageError as error:
                done(Reply(img_id, problem=str(error)))
                continue
            reply = await model.reply(img_id, photo)
            done(reply)
            failures = failures + 1 if reply.problem else 0
            if failures == 10 * workers:
                raise ServerError(f"{failures} requests in a row failed, the last one with {reply.problem}")

    try:
        async with model.client, asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(worker())
    except ExceptionGroup as errors:
        # The first one ended the run; the others are what its end did to their requests.
        raise errors.exceptions[0] from None
