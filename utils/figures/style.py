"""What the pictures have in common: colours, lines, and how they are written."""

import os

from matplotlib.figure import Figure

from utils.jobs.files import atomic_path

DOTS_PER_INCH = 100
INK, FAINT = "#1c2330", "#6b7585"
LINE_COLOURS = (
    "#d55e00",
    "#0072b2",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#000000",
    "#8a8a8a",
    "#7a4a1e",
    "#6a3d9a",
)  # Okabe-Ito, a brown and a purple: one for each ranker of a report
LINE_STYLES = ("-", "--", "-.", ":")


def save(figure: Figure, path: str | os.PathLike) -> None:
    """Write ``figure`` as PNG, atomically, at 100 pixels an inch."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DOTS_PER_INCH)
