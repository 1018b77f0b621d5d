"""Rewards from a vLLM server: one request a candidate, to its endpoint ``/classify``.

The request has the query photo with every candidate. That it is computed once is vLLM's doing: its prefix cache knows
the photo by its content, and the prompt begins with it.
"""

import json
import math
import os
import re
from collections.abc import Sequence
from typing import NamedTuple

import openai

from utils.servers.bounded_client import BadAnswer
from utils.servers.errors import ServerError
from utils.servers.server import MESSAGE, Server, server_root
from utils.servers.workers import run_to_end, work_off
from utils.serving.chat import Content

KEYLESS = "EMPTY"  # the client sends some key
ENDINGS = ("/classify", "/v1")  # that an address may have: the endpoint lies beside those of OpenAI's protocol
# A prompt whose reward tells how a server computes, which its label does not.
PROBE: Content = [{"type": "text", "text": "How far is this place from the one in the photo?"}]


class Served(NamedTuple):
    """What a server has."""

    label: str  # of its checkpoint
    probe: float  # the reward of PROBE


class RewardServer:
    """A vLLM server with the checkpoint that ``tools.convert_adapter --to vllm`` wrote of one adapter."""

    def __init__(
        self,
        base_url: str,
        label: str,
        name: str | None = None,
        api_key: str | None = None,
        timeout: float = 120.0,
        max_retries: int = 6,
    ) -> None:
        """``api_key`` defaults to VLLM_API_KEY of the environment, and to none.

        Args:
            base_url: with or without ``/v1`` at its end.
            label: what the checkpoint is known by, or the adapter: see ``utils/serving/identity.py``.
            name: the server's name of the model; None: whichever it serves.
            timeout: seconds that a request may take, its whole answer included.
            max_retries: how often a request is repeated.

        Raises ``ValueError`` when key or address are unusable.
        """
        key = api_key or os.environ.get("VLLM_API_KEY") or KEYLESS
        root = server_root(base_url, *ENDINGS)
        self.server = Server(root, key, timeout, max_retries)
        self.address = self.server.mask(f"{root}/classify")
        self.label = label
        self.settings = {"add_generation_prompt": True, "use_activation": False, **({"model": name} if name else {})}

    async def reward(self, content: Content) -> tuple[float, str | None]:
        """The reward of a prompt (see ``utils/serving/chat.py``) and None, or NaN and why the server gives none.

        Raises ``ServerError`` for what every other request would meet as well, such as another model.
        """
        try:
            label, reward = await self._classify(content)
        except openai.OpenAIError as error:
            self.server.code(error)
            return float("nan"), self.server.explain(error)
        if label != self.label:
            raise self._other(label)
        return reward, None

    async def served(self) -> Served:
        """What is there: a checkpoint of the adapter ``label``.

        Raises ``ServerError`` where there is none, or no server.
        """
        try:
            label, probe = await self._classify(PROBE)
        except openai.OpenAIError as error:
            raise ServerError(f"no rewards from {self.address}: {self.server.explain(error)}") from None
        if not isinstance(label, str) or not re.fullmatch(rf"{re.escape(self.label)}-[0-9a-f]{{8}}", label):
            raise self._other(label)
        if not math.isfinite(probe):
            raise ServerError(f"{self.address} gives {probe} for a reward: is its --dtype too narrow for this model?")
        return Served(label, probe)

    async def _classify(self, content: Content) -> tuple[str | None, float]:
        """Label and reward. Raises ``ServerError`` where nothing there classifies, else ``openai.OpenAIError``."""
        body = {"messages": [{"role": "user", "content": content}], **self.settings}

        async def request() -> str:
            return await self.server.client.post("/classify", body=body, cast_to=str)

        try:
            return await self.server.ask(request, read_reward)
        except openai.NotFoundError as error:
            why = self.server.explain(error)
            raise ServerError(f"{why} (no model of that name, or none that classifies, at {self.address})") from None

    def _other(self, label: str | None) -> ServerError:
        shown = self.server.mask(repr(label))
        return ServerError(
            f"the server's model is {shown if len(shown) <= MESSAGE else shown[:MESSAGE] + '...'}, not {self.label}: "
            "serve what python -m tools.convert_adapter writes of this adapter with --to vllm"
        )


def ask_served(servers: Sequence[RewardServer]) -> dict[str, Served]:
    """What each of ``servers`` has, by address; they are closed, and cannot be asked again.

    Raises ``ServerError`` as ``RewardServer.served`` does, and where they have several checkpoints.
    """
    found: dict[str, Served] = {}

    async def ask(server: RewardServer) -> None:
        found[server.address] = await server.served()

    run_to_end(work_off([server.server for server in servers], servers, ask, len(servers)))
    first = servers[0].address
    for address, served in found.items():
        if served.label != found[first].label:
            raise ServerError(f"{first} has {found[first].label}, but {address} {served.label}: serve one checkpoint")
    return {server.address: found[server.address] for server in servers}


def read_reward(body: str) -> tuple[str | None, float]:
    """Label and reward in the body of a response. Raises ``BadAnswer`` where it is none."""
    try:
        (record,) = json.loads(body)["data"]
        (reward,) = record["probs"]  # with use_activation off they are what the head computes
        if type(reward) not in (int, float):
            raise TypeError
        return record["label"], float(reward)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise BadAnswer(f"the response is no classification with one label ({type(error).__name__}): {body}") from error
