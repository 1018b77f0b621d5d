"""The three lists of packages say the same."""

import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def ranges() -> dict[str, Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [line for name in ("train", "dev") for line in project["optional-dependencies"][name]]
    return {canonicalize_name(r.name): r for r in map(Requirement, project["dependencies"] + extras)}


@pytest.fixture(scope="module")
def pins() -> dict[str, str]:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pinned = [re.fullmatch(r"([A-Za-z0-9_.-]+)==([0-9][0-9.]*)", line) for line in lines if line[:1] != "#"]
    assert all(pinned), "every line of requirements.txt pins one package exactly"
    return {canonicalize_name(match[1]): match[2] for match in pinned}


def test_every_package_is_pinned_within_its_range(ranges, pins):
    assert pins.keys() == ranges.keys()
    for name, version in pins.items():
        assert ranges[name].specifier.contains(version), name


def test_conda_takes_the_pins():
    assert "-r requirements.txt" in (ROOT / "environment.yml").read_text()


def test_every_import_is_of_a_declared_package(ranges):
    packages = {
        "PIL": "pillow",
        "sklearn": "scikit-learn",
        "faiss": "faiss-cpu",
        "tokenizers": "transformers",
    }
    sources = [*ROOT.glob("*.py"), *ROOT.glob("utils/*.py"), *ROOT.glob("earth/*.py"), *ROOT.glob("benchmarks/*.py")]
    imported = {
        name
        for source in sources
        for name in re.findall(r"^(?:from|import) (\w+)", source.read_text(), flags=re.MULTILINE)
    }
    third_party = imported - sys.stdlib_module_names - {"utils", "earth", "benchmarks"}
    assert "torch" in third_party
    assert {canonicalize_name(packages.get(name, name)) for name in third_party} <= ranges.keys()
