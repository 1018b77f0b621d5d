"""A candidate's prompt as the chat message that vLLM makes the same prompt of.

vLLM takes photos in chat messages only, and writes the prompt by the checkpoint's own chat template, off which
``utils/model/prompts.py`` reads its prompts, too. One thing differs: vLLM takes the name of a special token in a text
for the token.
"""

from collections.abc import Sequence
from typing import Any

from utils.candidates import Candidate
from utils.model.prompts import ChatFrame, Layout

Content = list[dict[str, Any]]

_PHOTO = "\0photo"
_FRAME = ChatFrame("", _PHOTO, "")  # of the parts of a prompt it leaves the texts, and the places of photos


def chat_content(
    candidate: Candidate, negatives: Sequence[Candidate], layout: Layout, photos: Sequence[str]
) -> Content:
    """The content of the one user turn. ``photos`` are data URLs: the query's, and the candidate's where it has one.

    Raises ``ValueError`` where a name of a place holds ``<|``, with which the names of special tokens begin.
    """
    urls = iter(photos)
    parts = [*_FRAME.prefix(negatives, layout), *_FRAME.suffix(candidate, negatives, layout)]
    if any("<|" in part for part in parts):
        raise ValueError("the name of a place holds '<|', which vLLM would take for a special token")
    return [
        {"type": "image_url", "image_url": {"url": next(urls)}} if part == _PHOTO else {"type": "text", "text": part}
        for part in parts
        if part
    ]
