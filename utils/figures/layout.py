"""Where the parts of the picture of a ranking stand, in pixels from its lower left corner."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from utils.figures.frame import HEIGHT, WIDTH

SIZE = (1500, 650)
MAP_BOX = (64, 76, WIDTH, HEIGHT)  # left, bottom, width, height
LIST_BOX = (1094, 76, 386, HEIGHT)
PHOTO_HEIGHT, PHOTO_GAP = 212, 16  # the photo stands above the list


def axes_in(figure: Figure, label: str, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes in a box."""
    return figure.add_axes((left / SIZE[0], bottom / SIZE[1], width / SIZE[0], height / SIZE[1]), label=label)
