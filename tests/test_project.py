"""The lists of packages say the same, and the tree is as its documents say."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PACKAGES = ("utils", "earth", "tools")
UNPINNED = {"qwen-vl-utils", "torchvision", "flash-attn"}  # they need a GPU, or torchvision, which nothing else does


@pytest.fixture(scope="module")
def ranges() -> dict[str, Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [line for extra in project["optional-dependencies"].values() for line in extra]
    return by_name(project["dependencies"] + extras)


def by_name(requirements: list[str]) -> dict[str, Requirement]:
    return {canonicalize_name(r.name): r for r in map(Requirement, requirements)}


@pytest.fixture(scope="module")
def without_dependencies() -> dict[str, Requirement]:
    return by_name(tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["no-deps"])


@pytest.fixture(scope="module")
def pins() -> dict[str, str]:
    return pins_of("requirements.txt")


def pins_of(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text().splitlines()
    pinned = [re.fullmatch(r"([A-Za-z0-9_.-]+)==([0-9][0-9.]*)", line) for line in lines if line[:1] != "#"]
    assert all(pinned), f"every line of {name} pins one package exactly"
    return {canonicalize_name(match[1]): match[2] for match in pinned}


def test_every_package_is_pinned_within_its_range(ranges, pins):
    assert pins.keys() == ranges.keys() - UNPINNED
    assert ranges.keys() > UNPINNED
    for name, version in pins.items():
        assert ranges[name].specifier.contains(version), name


def test_what_is_installed_without_its_dependencies_is_pinned_apart(ranges, pins, without_dependencies):
    apart = pins_of("requirements-no-deps.txt")
    assert apart.keys() == without_dependencies.keys()
    assert all(without_dependencies[name].specifier.contains(version) for name, version in apart.items())
    assert not apart.keys() & (pins.keys() | ranges.keys())
    install = "$(BIN)/pip install --disable-pip-version-check --no-deps -r requirements-no-deps.txt"
    assert install in (ROOT / "Makefile").read_text()


def test_install_has_a_line_for_every_extra():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"].keys() - {"dev"}
    document = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^pip install .*-e '\.\[([\w-]+)\]' +# ", document, flags=re.MULTILINE)) == extras


def test_the_citation_is_of_this_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert dict(re.findall(r"^(version|license|cff-version): (\S+)$", citation, flags=re.MULTILINE)) == {
        "cff-version": "1.2.0",
        "version": project["version"],
        "license": project["license"],
    }


def test_conda_takes_the_pins():
    assert "-r requirements.txt" in (ROOT / "environment.yml").read_text()


def sources() -> list[Path]:
    """All Python files of the project but its tests."""
    folders = [ROOT / folder for folder in (*PACKAGES, "benchmarks")]
    return [*ROOT.glob("*.py"), *(path for folder in folders for path in folder.rglob("*.py"))]


def imported_names(source: Path) -> set[str]:
    """The top-level names of all modules that a file imports, inside of functions too."""
    nodes = list(ast.walk(ast.parse(source.read_text(encoding="utf-8"))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    return {name.partition(".")[0] for name in names}


def test_every_import_is_of_a_declared_package(ranges, without_dependencies):
    packages = {
        "PIL": "pillow",
        "sklearn": "scikit-learn",
        "faiss": "faiss-cpu",
        "tokenizers": "transformers",
        "starlette": "fastapi",
        "pydantic": "fastapi",
    }
    imported = {source: imported_names(source) for source in sources()}
    # Those of every depth were seen, and imports that stand inside of functions.
    assert {"evaluate.py", "utils/geo_ranker.py", "utils/model/packing.py", "earth/lvlm/model.py"} <= {
        path.relative_to(ROOT).as_posix() for path in imported
    }
    assert "torch" in imported[ROOT / "evaluate.py"]
    third_party = set().union(*imported.values()) - sys.stdlib_module_names - {*PACKAGES, "benchmarks"}
    assert {canonicalize_name(packages.get(name, name)) for name in third_party} <= ranges.keys() | without_dependencies


def test_every_package_says_what_lives_in_it():
    packages = [
        path.parent for root in ("utils", "earth", "tools") for path in ROOT.joinpath(root).rglob("__init__.py")
    ]
    assert {"utils", "model", "studies", "tools"} <= {package.name for package in packages}
    for package in packages:
        tree = ast.parse((package / "__init__.py").read_text(encoding="utf-8"))
        assert len(tree.body) == 1, f"{package}: nothing but a docstring"
        assert ast.get_docstring(tree), package


def test_every_folder_of_modules_is_a_package():
    for root in PACKAGES:
        for folder in {path.parent for path in ROOT.joinpath(root).rglob("*.py")}:
            assert (folder / "__init__.py").is_file(), folder


def test_tests_mirror_the_tree():
    for root in PACKAGES:
        for test in ROOT.joinpath("tests", root).rglob("test_*.py"):
            module = ROOT / root / test.relative_to(ROOT / "tests" / root).with_name(test.name.removeprefix("test_"))
            assert module.is_file(), f"{test.relative_to(ROOT)} tests no module"


def test_the_command_line_is_forbidden_to_the_whole_library():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (contract,) = (contract for contract in contracts if "argparse" in contract.get("forbidden_modules", ()))
    inside = {path.stem for path in (ROOT / "utils").iterdir() if path.is_dir() or path.suffix == ".py"}
    assert {*contract["source_modules"]} == {f"utils.{name}" for name in inside - {"cli", "__init__", "__pycache__"}}
