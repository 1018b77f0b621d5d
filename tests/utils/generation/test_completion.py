import json

import pytest

from tests.loopback import completion
from utils.generation.completion import Answer, Completion, read_completion
from utils.servers.bounded_client import BadAnswer


def answers(*contents: str | list | None, finish: str = "stop") -> list[Answer]:
    return list(read_completion(json.dumps(completion(*contents, finish=finish).body)).answers)


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


def test_content_may_come_in_parts() -> None:
    thought = {"type": "thinking", "thinking": [text("46.17, 7.10?")]}
    assert [answer.text for answer in answers([text("46.17, "), thought, text("7.10")], [text("")], [thought], [])] == [
        "46.17, 7.10",
        "",
        "",
        "",
    ]
    assert answers([{"type": "refusal", "refusal": "I cannot say."}]) == [Answer("I cannot say.", False)]


def test_what_a_model_thinks_is_no_answer() -> None:
    message = {"content": None, "reasoning_content": "46.17, 7.10?", "reasoning": "46.17, 7.10?"}
    body = {"choices": [{"message": message, "finish_reason": "length"}]}
    assert read_completion(json.dumps(body)).answers == (Answer("", True),)


@pytest.mark.parametrize(
    ("finish", "cut"), [("length", True), ("stop", False), (None, False), ("content_filter", False), (7, False)]
)
def test_only_the_token_limit_cuts_an_answer(finish: object, cut: bool) -> None:
    assert answers("It is", None, finish=finish) == [Answer("It is", cut), Answer("", cut)]


def test_servers_that_do_not_say_how_an_answer_ended() -> None:
    body = {"choices": [{"message": {"content": "yes"}}]}
    assert read_completion(json.dumps(body)) == Completion((Answer("yes", False),), None)


@pytest.mark.parametrize(
    ("usage", "tokens"), [({"total_tokens": 7}, 7), (None, None), ({}, None), ({"total_tokens": -1}, None)]
)
def test_tokens_are_those_that_the_server_counts(usage: dict | None, tokens: int | None) -> None:
    assert read_completion(json.dumps(completion("a", usage=usage).body)).tokens == tokens


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[" * 100_000,
        "1" * 10_000,
        json.dumps(completion([text("a"), "b"]).body),
        json.dumps(completion([{"type": "text", "text": None}]).body),
        json.dumps(completion([{"type": "text"}]).body),
        json.dumps(completion({"type": "text", "text": "a"}).body),
        json.dumps({"choices": [{"message": None}]}),
        json.dumps({"choices": {"message": {"content": "a"}}}),
        json.dumps({"choices": None}),
    ],
)
def test_anything_else_is_no_completion(body: str) -> None:
    with pytest.raises(BadAnswer, match=r"the response (is no chat completion|has no answer)"):
        read_completion(body)
