"""Places guessed by a model behind a server that speaks OpenAI's chat protocol.

How a server is asked is in ``utils/servers``. Servers that give fewer choices than asked for are asked for the rest,
those that refuse more than one choice for one at a time.
"""

import asyncio
import os
from collections.abc import Callable, Iterable
from typing import Any

import openai
from PIL import Image

from utils.generation.completion import Answer, Completion, read_completion
from utils.generation.journal import Reply
from utils.model.prompts import GENERATION_PROMPT
from utils.photos.data_url import encoded
from utils.photos.images import ImageError
from utils.photos.store import ImageStore
from utils.servers.server import Server, server_root
from utils.servers.workers import Failures, run_to_end, work_off

# What one photo costs with OpenAI at detail "low", whatever its size; other servers count differently.
LOW_DETAIL_TOKENS = 85
CHARACTERS_PER_TOKEN = 4  # of English text and numbers, roughly

# Codes by which servers refuse a photo with an error instead of an empty answer.
REFUSALS = ("content_filter", "content_policy_violation")


def encode_photo(image: Image.Image, max_side: int) -> str:
    """The data URL of an RGB photo as JPEG, its longer side at most ``max_side`` pixels."""
    image = image.copy()
    image.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    return encoded(image, "JPEG", quality=90)


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
        root = server_root(base_url, "/chat/completions") if base_url else None
        self.server = Server(root, api_key, timeout, max_retries)
        self.name = name
        self.num_samples = num_samples
        self.at_once = num_samples
        self.settings = {"temperature": temperature, "max_tokens": max_tokens}
        self.max_side = max_side

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
        async def request() -> str:
            body = chat_request(self.name, photo, count, **self.settings)
            response = await self.server.client.chat.completions.with_raw_response.create(**body)
            return response.text

        try:
            return await self.server.ask(request, read_completion)
        except openai.BadRequestError as error:
            if count == 1 or error.code in REFUSALS:
                raise
            one = await self._ask(photo, 1)
            self.at_once = 1  # it was n that the server took offence at
            return one

    async def reply(self, img_id: str, photo: str) -> Reply:
        """What the server says about a photo (data URL), or why it says nothing.

        Raises ``ServerError`` for errors that every other photo would meet as well.
        """
        try:
            answers, tokens = await self.answers(photo)
            texts = tuple(self.server.mask(answer.text) for answer in answers)
            cut = tuple(number for number, answer in enumerate(answers) if answer.cut)
            return Reply(img_id, texts, tokens=tokens, cut=cut)
        except openai.OpenAIError as error:
            if self.server.code(error) in REFUSALS:
                return Reply(img_id, ("",) * self.num_samples)
            return Reply(img_id, problem=f"{img_id}: {self.server.explain(error)}")


def estimated_tokens(completion: Completion) -> int:
    """What a request cost whose server does not say so."""
    characters = len(GENERATION_PROMPT) + sum(len(answer.text) for answer in completion.answers)
    return LOW_DETAIL_TOKENS + characters // CHARACTERS_PER_TOKEN


def ask_all(
    model: ApiModel, image_ids: Iterable[str], store: ImageStore, done: Callable[[Reply], None], workers: int = 8
) -> None:
    """``ask_api`` to its end, for those who have no event loop."""
    run_to_end(ask_api(model, image_ids, store, done, workers))


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
    failures = Failures(10 * workers)

    async def ask(img_id: str) -> None:
        try:
            # In a thread, because decoding takes long enough to hold up the other requests.
            photo = await asyncio.to_thread(lambda: encode_photo(store.open(img_id), model.max_side))
        except ImageError as error:
            done(Reply(img_id, problem=str(error)))
            return
        reply = await model.reply(img_id, photo)
        done(reply)
        failures.note(reply.problem)

    await work_off([model.server], image_ids, ask, workers)
