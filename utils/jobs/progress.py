"""Progress bars of long work, which are silent unless a script lets the library speak (``utils/cli/logs.py``)."""

import logging
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def progress_bar(items: Iterable[Any] | None = None, *, unit: str, **options: Any) -> tqdm:
    """A tqdm bar that counts ``unit``; ``options`` are tqdm's own, such as ``desc`` and ``total``.

    It is shown where notes are: a script's ``--quiet`` hides it, all processes but the first of a launch have none, and
    neither has a program that uses the library without asking for its notes.
    """
    return tqdm(items, unit=unit, disable=not logging.getLogger(__name__).isEnabledFor(logging.INFO), **options)
