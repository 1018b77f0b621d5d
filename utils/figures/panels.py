"""Small multiples: axes beside each other that share a legend, written as PNG with few colours."""

import io
import os

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from utils.figures.style import DOTS_PER_INCH, INK
from utils.jobs.files import atomic_path

WIDTH = 10.5  # inches, of a picture
HEIGHT = 3.1  # of its panels
PALETTE = 128  # colours of a picture: lines on white need no more, and the files stay small


def panels(count: int, legend_rows: int = 0, rows: int = 1) -> tuple[Figure, list[Axes]]:
    """``rows`` rows of ``count`` axes each, row by row, with room for a legend below."""
    figure = Figure(figsize=(WIDTH, HEIGHT * rows + 0.25 * legend_rows), facecolor="white", layout="constrained")
    axes = list(figure.subplots(rows, count, squeeze=False).flat)
    for panel in axes:
        panel.grid(color="#e6e9ee", linewidth=0.8)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize=8.5, labelcolor=INK)
    return figure, axes


def name_lines(figure: Figure, panel: Axes, columns: int) -> None:
    """One legend below all panels, of the lines of ``panel``."""
    lines = panel.get_legend_handles_labels()
    how = {"loc": "outside lower center", "ncols": columns, "frameon": False, "fontsize": 9.5, "handlelength": 3}
    figure.legend(*lines, **how)


def write(figure: Figure, path: str | os.PathLike) -> None:
    """A PNG with few colours, atomically."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DOTS_PER_INCH)
    with atomic_path(path) as temporary:
        Image.open(file).convert("RGB").quantize(PALETTE).save(temporary, format="png", optimize=True)
