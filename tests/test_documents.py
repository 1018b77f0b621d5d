"""What documents name is there: commands that scripts take, files, links, what their Python imports. None is long."""

import ast
import importlib
import re

import pytest

from tests.commands import ROOT, accept, fenced, is_ours

DOCUMENTS = [
    ROOT / "CONTRIBUTING.md",
    *(ROOT / folder / "README.md" for folder in (".", "dataset", "benchmarks")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
LONGEST, FRONT = 160, 150  # lines of a document under docs/, and of the README
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


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(document):
    text = without_code(document.read_text(encoding="utf-8"))
    targets = [target for target in re.findall(r"\]\(([^()\s]+)\)", text) if "://" not in target]
    for target in targets:
        name, _, anchor = target.partition("#")
        file = document.parent / name if name else document
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file.read_text(encoding="utf-8")), target


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(text: str) -> set[str]:
    """What GitHub calls the headings of a document; of equal ones the first."""
    headings = re.findall(r"^#+ (.+?) *$", without_code(text), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_anchors_are_those_of_github():
    """Small letters, no punctuation but - and _, hyphens for spaces; comments in code are no headings."""
    headings = "# Rows (`build_georanking.py`)\n## `--quantize 8bit`, more\n```bash\n# none\n```\n### 2. It's A_B\n"
    assert anchors(headings) == {"rows-build_georankingpy", "--quantize-8bit-more", "2-its-a_b"}


def test_the_index_lists_every_document():
    folder = ROOT / "docs"
    listed = re.findall(
        r"^- \[.*?\]\(([^)#]+)\)", (folder / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    assert len(listed) == len(set(listed))
    documents = {path for path in DOCUMENTS if path not in (ROOT / "README.md", folder / "README.md")}
    assert {(folder / target).resolve() for target in listed} == documents


def test_documents_are_short():
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / "docs").rglob("*.md")}
    assert {path.name: length for path, length in lengths.items() if length > LONGEST} == {}
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= FRONT


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
