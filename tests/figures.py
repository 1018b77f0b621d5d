"""Figures as they are written."""

import numpy as np
from PIL import Image

from utils.figures.style import save


def pixels(figure, tmp_path):
    save(figure, tmp_path / "picture.png")
    with Image.open(tmp_path / "picture.png") as image:
        return np.asarray(image.convert("RGB")).astype(int)
