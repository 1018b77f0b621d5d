import pytest

from earth import build_dataset


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with a small Earth in ``data``, and room for what the tests of one script write."""
    folder = tmp_path_factory.mktemp("earth")
    build_dataset.build(folder / "data", (60, 10, 1, 5, 1), seed=0, workers=1)
    return folder
