"""A candidate's prompt as the chat message that vLLM makes the same prompt of.

vLLM takes photos in chat messages only, and writes the prompt by the checkpoint's own chat template, off which
``utils/model/prompts.py`` reads its prompts, too. One thing differs: vLLM takes the name of an added token in a text
for the token.
"""

import re
from collections.abc import Sequence
from typing import Any

from utils.candidates import Candidate
from utils.model.prompts import ChatFrame, Layout

Content = list[dict[str, Any]]

# Names of added tokens of Qwen2-VL, Qwen2.5-VL and Qwen3-VL, which alone are served. A client has no tokenizer to ask.
ADDED = re.compile(r"<\||</?(?:tool_call|tool_response|think)>")
_PHOTO = "\0photo"
_FRAME = ChatFrame("", _PHOTO, "")  # of the parts of a prompt it leaves the texts, and the places of photos


def chat_content(
    candidate: Candidate, negatives: Sequence[Candidate], layout: Layout, photos: Sequence[str]
) -> Content:
    """The content of the one user turn. ``photos`` are data URLs: the query's, and the candidate's where it has one.

    Raises ``ValueError`` where a name of a place holds that of an added token, or ``<|``, with which most begin.
    """
    urls = iter(photos)
    parts = [*_FRAME.prefix(negatives, layout), *_FRAME.suffix(candidate, negatives, layout)]
    if found := next(filter(None, map(ADDED.search, parts)), None):
        raise ValueError(f"the name of a place holds {found[0]!r}, which vLLM would take for a special token")
    return [
        {"type": "image_url", "image_url": {"url": next(urls)}} if part == _PHOTO else {"type": "text", "text": part}
        for part in parts
        if part
    ]
