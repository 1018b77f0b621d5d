from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

# They take longest, so no worker is left alone with one at the end. All that forks (tests/forks.py) is among them: in
# one worker, what it forks from is imported once.
FIRST = (
    "tests/test_finetune_in_processes.py",
    "tests/faults/",
    "tests/test_evaluate.py",
    "tests/test_nodes.py",
    "tests/test_lvlm_zs_predict.py",
    "tests/utils/evaluation/test_scoring.py",
    "tests/utils/jobs/test_processes.py",
    "tests/benchmarks/test_tar_index_benchmark.py",
    "tests/test_reproduce.py",
    "tests/test_finetune_geo_ranker.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        return next((number for number, path in enumerate(FIRST) if item.nodeid.startswith(path)), len(FIRST))

    items.sort(key=place)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faults")
    group.addoption("--fault_seconds", type=float, default=0, help="for each test of tests/faults; 0: one round each")
    group.addoption("--fault_seed", type=int, default=0, help="of its random numbers")


def pytest_report_header(config: pytest.Config) -> str:
    seed, seconds = config.getoption("--fault_seed"), config.getoption("--fault_seconds")
    return f"faults: seed {seed}, {seconds:g} s a test"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """What tests/faults did, where it was asked for more than one round."""
    counts: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport) and report.when == "call" and "tests/faults" in report.nodeid:
                counts.update(dict(report.user_properties))
    if config.getoption("--fault_seconds"):
        terminalreporter.write_line(f"seed {config.getoption('--fault_seed')}")
        for name, count in counts.items():
            terminalreporter.write_line(f"{count:>6}  {name}")


@pytest.fixture(scope="session")
def tiny_bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoint folder by family."""
    from tests.tiny_models import FAMILIES, build_tiny_base  # here, as many tests need no torch

    folders = {family: tmp_path_factory.mktemp(family) for family in FAMILIES}
    for family, folder in folders.items():
        build_tiny_base(folder, family)
    return folders


@pytest.fixture(scope="session")
def tiny_base(tiny_bases: dict[str, Path]) -> Path:
    """The Qwen2-VL one."""
    return tiny_bases["qwen2_vl"]


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CLIP for GeoCLIP."""
    from tests.tiny_clip import build_tiny_clip

    folder = tmp_path_factory.mktemp("clip")
    build_tiny_clip(folder)
    return folder


@pytest.fixture(scope="session")
def geoclip_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GeoCLIP with 300 points."""
    from tests.tiny_clip import build_release

    folder = tmp_path_factory.mktemp("geoclip") / "release"
    build_release(folder, 300)
    return folder


@pytest.fixture(scope="session")
def make_image() -> Callable[[int, int, int], Image.Image]:
    """``make_image(width, height, seed)``: a random RGB photo."""

    def make(width: int, height: int, seed: int = 0) -> Image.Image:
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        return Image.fromarray(pixels)

    return make
