"""Numbers of candidates that share a label."""

from collections.abc import Sequence

import numpy as np

OVERLAP = 0.85  # of the sum of two radii: nearer than this, two markers are drawn as one


def clusters(pixels: np.ndarray, radii: np.ndarray, order: Sequence[int]) -> list[list[int]]:
    """Candidates whose markers would cover each other, by their leaders: ``order``'s first of each, then the others.

    ``pixels`` (n, 2) are where they lie, ``radii`` (n,) those of their markers in pixels.
    """
    found: list[list[int]] = []
    for index in order:
        leaders = [members[0] for members in found]
        gaps = np.linalg.norm(pixels[leaders] - pixels[index], axis=1) - OVERLAP * (radii[leaders] + radii[index])
        if len(gaps) and gaps.min() < 0:
            found[int(gaps.argmin())].append(index)
        else:
            found.append([index])
    return found


def in_words(numbers: Sequence[int]) -> str:
    """Numbers as text, three and more in a row as a range.

    >>> in_words([7, 2, 3, 4, 9])
    '2-4, 7, 9'
    """
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    parts = [f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs]
    return ", ".join(parts)
