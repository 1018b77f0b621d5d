import logging
from collections.abc import Iterator

import pytest

from utils.cli.logs import HANDLER, OURS


@pytest.fixture
def unset_logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Logging as a program has it that has not asked for the library's notes; what a test sets up is undone."""
    for name in ("RANK", "HF_HUB_DISABLE_PROGRESS_BARS"):
        monkeypatch.setenv(name, "")  # also what the test sets is undone
        monkeypatch.delenv(name)
    loggers = [logging.getLogger(name) for name in OURS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.NOTSET)
    root = logging.getLogger()
    before = HANDLER in root.handlers
    root.removeHandler(HANDLER)
    yield
    root.removeHandler(HANDLER)
    if before:
        root.addHandler(HANDLER)
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
