from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.tiny_models import FAMILIES, build_tiny_base


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faults")
    group.addoption("--fault_seconds", type=float, default=0, help="for each test of tests/faults; 0: one round each")
    group.addoption("--fault_seed", type=int, default=0, help="of its random numbers")


@pytest.fixture(scope="session")
def tiny_bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoint folder by family."""
    folders = {family: tmp_path_factory.mktemp(family) for family in FAMILIES}
    for family, folder in folders.items():
        build_tiny_base(folder, family)
    return folders


@pytest.fixture(scope="session")
def tiny_base(tiny_bases: dict[str, Path]) -> Path:
    """The Qwen2-VL one."""
    return tiny_bases["qwen2_vl"]


@pytest.fixture(scope="session")
def make_image() -> Callable[[int, int, int], Image.Image]:
    """``make_image(width, height, seed)``: a random RGB photo."""

    def make(width: int, height: int, seed: int = 0) -> Image.Image:
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        return Image.fromarray(pixels)

    return make
