import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from utils.figures.style import DOTS_PER_INCH, save


def test_a_picture_is_written_whole_and_in_its_size(tmp_path):
    save(Figure(figsize=(3.0, 1.2), facecolor="#12c834"), tmp_path / "picture.png")
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]
    with Image.open(tmp_path / "picture.png") as image:
        assert image.format == "PNG"
        assert image.size == (3 * DOTS_PER_INCH, 1.2 * DOTS_PER_INCH) == (300, 120)
        assert (np.asarray(image.convert("RGB")) == (0x12, 0xC8, 0x34)).all()


class Interrupted(Figure):
    def savefig(self, path, **_):
        path.write_bytes(b"half")
        raise KeyboardInterrupt


def test_an_interruption_leaves_the_old_picture(tmp_path):
    (tmp_path / "picture.png").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        save(Interrupted(), tmp_path / "picture.png")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]
