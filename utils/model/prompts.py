"""Prompt text of GeoRanker, and which parts of it the candidates of one query share.

A prompt is one user turn after the default system prompt. Its parts follow each other with no separator:

    published        query photo | question, candidate photo, negative examples
    negatives_first  query photo, negative examples | question, candidate photo

Left of the bar is the *prefix*, the same for every candidate of a query; right of it is the candidate's
*suffix*. ``published`` is the prompt of the released adapters (paper 2505.13731); ``negatives_first`` moves the
negative examples, which all candidates of a query share, into the part that is computed once. An ablation leaves
parts out (``leave_out``).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from utils.candidates import Candidate, Query

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Layout = Literal["published", "negatives_first"]
LAYOUTS: tuple[Layout, ...] = ("published", "negatives_first")

Part = Literal["negatives", "images", "texts"]
PARTS: tuple[Part, ...] = ("negatives", "images", "texts")

GENERATION_PROMPT = (
    "Where was this photo taken? Answer with your best guess of its coordinates as JSON only: "
    '{"latitude": float,"longitude": float}'
)


class Words(str):
    """A part of a prompt that is text: the name of a special token in it, such as ``<|im_end|>``, is no token."""


def place(candidate: Candidate) -> str:
    """``latitude: 46.1, longitude: 7.0, Martigny Valais Switzerland``; without texts the last part is absent.

    Texts are joined as they are: an empty name leaves a second space. Whether there are empty ones is decided where
    candidates are made: tables drop them (``utils.candidates.prompt_texts``), published training does not
    (``utils/training/groups.py``).
    """
    coordinates = f"latitude: {candidate.latitude}, longitude: {candidate.longitude}"
    return f"{coordinates}, {' '.join(candidate.texts)}" if candidate.texts else coordinates


def question(candidate: Candidate) -> str:
    """The question whose answer the reward stands for."""
    return f"How far is this place from {place(candidate)}?"


def negative_examples(negatives: Sequence[Candidate]) -> str:
    """The counter-examples of a query, or an empty string where there are none."""
    return "Negative examples: " + "; ".join(place(negative) for negative in negatives) if negatives else ""


def leave_out(parts: Sequence[Part], query: Query) -> Query:
    """``query`` as a prompt without ``parts`` shows it.

    ``negatives`` are the negative examples, ``images`` the candidates' photos, and ``texts`` the place names of
    candidates and negative examples.
    """

    def stripped(candidate: Candidate) -> Candidate:
        return replace(
            candidate,
            texts=() if "texts" in parts else candidate.texts,
            image=None if "images" in parts else candidate.image,
        )

    negatives = () if "negatives" in parts else query.negatives
    return replace(query, candidates=tuple(map(stripped, query.candidates)), negatives=tuple(map(stripped, negatives)))


@dataclass(frozen=True)
class ChatFrame:
    """What a chat template puts around and between the parts of a single user turn.

    The template places the parts of a turn one after the other, so rendering a placeholder once gives everything
    needed to write any prompt: ``head`` (system prompt, start of the turn), ``image`` (the tags of one image with
    a single placeholder token) and ``tail`` (end of the turn, start of the answer).
    """

    head: str
    image: str
    tail: str

    @classmethod
    def of(cls, tokenizer: "PreTrainedTokenizerBase") -> "ChatFrame":
        """Read the frame off ``tokenizer``'s chat template; one that lets the model think first is told not to."""
        text, image = (
            tokenizer.apply_chat_template(
                [{"role": "user", "content": [part]}], tokenize=False, add_generation_prompt=True, enable_thinking=False
            )
            for part in ({"type": "text", "text": "\0"}, {"type": "image"})
        )
        head, tail = text.split("\0")
        return cls(head, image.removeprefix(head).removesuffix(tail), tail)

    def prefix(self, negatives: Sequence[Candidate], layout: Layout) -> list[str]:
        """What a query's prompts share, from the system prompt on, in parts.

        In ``negatives_first`` it ends with a line break: a byte-pair tokenizer never merges across a line break
        followed by a letter, so the tokens of prefix and suffix are the tokens of the whole prompt.
        """
        shared = negative_examples(negatives) if layout == "negatives_first" else ""
        return [self.head + self.image, *([Words(shared + "\n")] if shared else [])]

    def suffix(self, candidate: Candidate, negatives: Sequence[Candidate], layout: Layout) -> list[str]:
        """What belongs to one candidate, to the start of the answer, in parts.

        No two ``Words`` are neighbours: a tokenizer may merge across the border.
        """
        own, behind = question(candidate), negative_examples(negatives) if layout == "published" else ""
        if candidate.image is None:
            return [Words(own + behind), self.tail]
        return [Words(own), self.image, Words(behind), self.tail]
