"""What a server's chat completion says, in the forms that servers write it."""

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

from utils.servers.bounded_client import BadAnswer


class Answer(NamedTuple):
    """One choice of a completion."""

    text: str
    cut: bool  # by the limit of tokens


@dataclass(frozen=True)
class Completion:
    """The answers of a completion, and the tokens it cost where it says so."""

    answers: tuple[Answer, ...]
    tokens: int | None


def read_completion(body: str) -> Completion:
    """The completion in the body of a response.

    A refusal counts as an answer: its words, or an empty text. Raises ``BadAnswer`` with the whole body, in which
    a server may repeat the key.
    """
    try:
        record = json.loads(body)
        answers = tuple(_answer(choice) for choice in record["choices"])
        tokens = (record.get("usage") or {}).get("total_tokens")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadAnswer(f"the response is no chat completion ({type(error).__name__}): {body}") from error
    if not answers or not all(isinstance(answer.text, str) for answer in answers):
        raise BadAnswer(f"the response has no answer: {body}")
    return Completion(answers, tokens if isinstance(tokens, int) and tokens > 0 else None)


def _answer(choice: dict[str, Any]) -> Answer:
    message = choice["message"]
    content = message.get("content")
    if isinstance(content, list):
        # Parts of other types are no answer: thoughts, pictures, calls of tools.
        content = "".join(part[part["type"]] for part in content if part.get("type") in ("text", "refusal"))
    return Answer(content or message.get("refusal") or "", choice.get("finish_reason") == "length")
