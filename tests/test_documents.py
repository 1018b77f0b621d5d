"""What documents name is there: commands that scripts take, files, and what their Python imports."""

import ast
import importlib
import re

import pytest

from tests.commands import ROOT, accept, fenced, is_ours

DOCUMENTS = [
    ROOT / "CONTRIBUTING.md",
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


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_that_are_named_exist(document):
    text = document.read_text(encoding="utf-8")
    for name in re.findall(r"`((?:utils|earth|tools|benchmarks|tests)/[\w/.-]+)`", text):
        assert (ROOT / name).exists(), name
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (document.parent / target).exists(), target


def test_imports_of_examples_exist():
    blocks = [
        block
        for document in DOCUMENTS
        for block in re.findall(
            r"^```python\n(.*?)^```", document.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
        )
    ]
    assert blocks
    for node in (node for block in blocks for node in ast.walk(ast.parse(block))):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module)
            assert all(name.name in vars(module) for name in node.names), ast.unparse(node)


def test_the_tree_of_the_readme_is_short_and_true():
    (tree,) = re.findall(
        r"^```\nGeoRanker\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    lines = tree.splitlines()
    assert len(lines) < 20
    names = [re.split(r"\s{2,}", re.sub(r"^[│├└─ ]+", "", line))[0] for line in lines]
    for name in (part for line in names for part in line.split(", ")):
        assert (ROOT / name).exists() or (ROOT / "utils" / name).exists(), name
