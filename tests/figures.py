"""Figures as they are written, and their parts."""

import numpy as np
from PIL import Image

from utils.figures.style import save


def pixels(figure, tmp_path):
    save(figure, tmp_path / "picture.png")
    with Image.open(tmp_path / "picture.png") as image:
        return np.asarray(image.convert("RGB")).astype(int)


def part(figure, label):
    """The axes of a label."""
    (found,) = (axes for axes in figure.axes if axes.get_label() == label)
    return found


def words(axes):
    return [text.get_text() for text in axes.texts]
