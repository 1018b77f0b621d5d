"""Every command of every document is one that its script takes."""

import pytest

from tests.commands import ROOT, accept, fenced, is_ours

DOCUMENTS = [
    *(ROOT / folder / "README.md" for folder in (".", "dataset", "benchmarks")),
    *sorted((ROOT / "docs").glob("*.md")),
]
COMMANDS = [
    pytest.param(command, id=f"{document.relative_to(ROOT)}-{command[:60]}")
    for document in DOCUMENTS
    for command in fenced(document.read_text(encoding="utf-8"))
    if is_ours(command)
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_accepted(command, monkeypatch):
    accept(command, monkeypatch)
