"""How wide words are in a picture, and how to fit them into a width."""

import re

from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties


class Ruler:
    """Measures words of one size (points) and weight, in pixels."""

    def __init__(self, renderer: RendererAgg, size: float, weight: str = "normal") -> None:
        self._renderer, self._font = renderer, FontProperties(size=size, weight=weight)

    def width(self, words: str) -> float:
        """Of ``words`` on one line."""
        return self._renderer.get_text_width_height_descent(words, self._font, ismath=False)[0]

    def shortened(self, words: str, width: float) -> str:
        """``words``, cut and ended by an ellipsis where they are wider than ``width``."""
        if self.width(words) <= width:
            return words
        kept = words
        while kept and self.width(kept.rstrip(" ,") + "…") > width:
            kept = kept[:-1]
        return kept.rstrip(" ,") + "…"

    def in_lines(self, words: str, width: float, most: int) -> list[str]:
        """``words`` in at most ``most`` lines of ``width``, the last one shortened where that is not enough."""
        lines, rest = [], words
        while len(lines) < most - 1 and self.width(rest) > width:
            parts = re.split(r" (?!km\b)", rest)  # a number stays with its unit
            count = next((n for n in range(len(parts) - 1, 0, -1) if self.width(" ".join(parts[:n])) <= width), 0)
            if count == 0:  # a word that is wider than the line
                break
            lines.append(" ".join(parts[:count]))
            rest = " ".join(parts[count:])
        return [*lines, self.shortened(rest, width)]
