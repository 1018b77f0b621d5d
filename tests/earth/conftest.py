from pathlib import Path

import pytest

from earth.world import splits


@pytest.fixture(scope="session")
def small_earth(tmp_path_factory) -> Path:
    """A folder with a small Earth in ``data``, built once; the first that takes photos leaves them beside it."""
    folder = tmp_path_factory.mktemp("earth")
    splits.build(folder / "data", (60, 10, 1, 5, 1), seed=0, workers=1)
    return folder


@pytest.fixture(scope="module")
def world(small_earth, tmp_path_factory) -> Path:
    """A folder with the small Earth in ``data``, and room for what the tests of one script write."""
    folder = tmp_path_factory.mktemp("world")
    (folder / "data").symlink_to(small_earth / "data")
    return folder
