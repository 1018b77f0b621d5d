import asyncio
import math

import pytest

from tests.loopback import Response, Server, serving
from tests.vllm_stand_in import classification
from utils.servers.bounded_client import BadAnswer
from utils.servers.errors import ServerError
from utils.serving.reward_server import RewardServer, Served, ask_served, read_reward

LABEL = "georanker-0123456789abcdef"
CONTENT = [{"type": "text", "text": "a"}]


def ask(server: Server, ending: str = "", **settings) -> tuple[float, str | None]:
    return asyncio.run(RewardServer(server.url.removesuffix("/v1") + ending, LABEL, **settings).reward(CONTENT))


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v1/", "/classify"])
def test_what_the_server_is_sent(ending, monkeypatch):
    monkeypatch.delenv("VLLM_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-somebody-else")
    with serving(lambda body, number: classification(-1.25, LABEL)) as server:
        assert ask(server, ending) == (-1.25, None)
        assert ask(server, ending, name="m", api_key="sk-own") == (-1.25, None)
        monkeypatch.setenv("VLLM_API_KEY", "sk-vllm")
        ask(server, ending)
    assert server.paths == ["/classify"] * 3
    assert server.authorizations == ["Bearer EMPTY", "Bearer sk-own", "Bearer sk-vllm"]
    plain = {"messages": [{"role": "user", "content": CONTENT}], "add_generation_prompt": True, "use_activation": False}
    assert server.bodies[:2] == [plain, plain | {"model": "m"}]


@pytest.mark.parametrize(
    "fault",
    [
        Response(503, "<html>"),
        Response(200, {"data": []}),
        Response(200, {"data": [{"label": LABEL, "probs": [0.5, 0.5]}]}),
        classification(7.0, LABEL)._replace(delay=30),
    ],
)
def test_what_may_pass_is_asked_again(fault):
    with serving(lambda body, number: classification(2.5, LABEL) if number == 3 else fault) as server:
        assert ask(server, timeout=0.5) == (2.5, None)
    assert len(server.bodies) == 3


@pytest.mark.parametrize(
    "body",
    [
        *("<html>", "[", "[]", '{"data": [{"label": "a", "probs": ["1.5"]}]}'),
        '{"data": [{"label": "a", "probs": [true]}]}',
        '{"data": [{"label": "a", "probs": [1%s]}]}' % ("0" * 400),
        '{"data": [{"index": 0, "data": [0.5]}]}',
    ],
)
def test_what_is_no_classification(body):
    with pytest.raises(BadAnswer, match="the response is no classification with one label"):
        read_reward(body)


def test_a_request_that_is_refused_costs_only_itself():
    error = {"error": {"message": "too long, sk-secret", "type": "BadRequestError", "code": 400}}
    with serving(lambda body, number: (400, error)) as server:
        reward, why = ask(server, api_key="sk-secret")
    assert math.isnan(reward)
    assert "too long, [key]" in why
    assert len(server.bodies) == 1


@pytest.mark.parametrize("label", ["georanker-fedcba9876543210", "LABEL_0", None])
def test_another_model_ends_the_run(label):
    message = f"the server's model is {label!r}, not {LABEL}: serve what"
    with (
        serving(lambda body, number: classification(1.0, label)) as server,
        pytest.raises(ServerError, match=message),
    ):
        ask(server)


@pytest.mark.parametrize(
    ("status", "message"),
    [(401, "AuthenticationError: "), (404, "no model of that name, or none that classifies, at http://.*/classify")],
)
def test_a_refused_key_or_a_missing_endpoint_ends_the_run(status, message):
    with (
        serving(lambda body, number: (status, {"detail": "x"})) as server,
        pytest.raises(ServerError, match=message),
    ):
        ask(server)
    assert len(server.bodies) == 1


def test_the_checkpoint_of_an_adapter_is_asked_for_once():
    with serving(lambda body, number: classification(1.0, f"{LABEL}-01234567")) as server:
        clients = [RewardServer(server.url, LABEL) for _ in range(2)]
        assert ask_served(clients) == {clients[0].address: Served(f"{LABEL}-01234567", 1.0)}
    assert len(server.bodies) == 2
    assert all(client.server.client.is_closed() for client in clients)
    with pytest.raises(ServerError, match=r"^no rewards from http://.*/classify: APIConnectionError: .* \(All conn"):
        ask_served([RewardServer(server.url, LABEL, max_retries=0)])


@pytest.mark.parametrize("label", [LABEL, "georanker-fedcba9876543210-01234567", None, 7, f"{LABEL}-{'0' * 10**6}"])
def test_what_is_of_another_adapter_is_refused(label):
    with (
        serving(lambda body, number: classification(1.0, label)) as server,
        pytest.raises(ServerError, match=r"^the server's model is .{1,310}, not georanker-0123456789abcdef: serve"),
    ):
        ask_served([RewardServer(server.url, LABEL)])


def test_a_reward_that_is_no_number_is_no_server_to_ask():
    body = classification(float("nan"), f"{LABEL}-01234567")
    with (
        serving(lambda *_: body) as server,
        pytest.raises(ServerError, match="gives nan for a reward: is its --dtype too narrow for this model"),
    ):
        ask_served([RewardServer(server.url, LABEL)])
