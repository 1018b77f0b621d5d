"""What tests of those who guess share."""

from pathlib import Path

import pytest

from utils.photos.store import ImageStore


@pytest.fixture
def store(tmp_path: Path, make_image) -> ImageStore:
    """Photos 0.png .. 4.png; 2.png is no image."""
    for number in range(5):
        make_image(16, 24, number).save(tmp_path / f"{number}.png")
    (tmp_path / "2.png").write_bytes(b"no image")
    return ImageStore.from_paths([tmp_path])
