import numpy as np
import pytest

from utils.figures.numbering import clusters, in_words


@pytest.mark.parametrize(
    ("numbers", "words"),
    [([3], "3"), ([5, 3, 7], "3, 5, 7"), ([1, 2], "1, 2"), ([9, 2, 3, 4, 10, 11, 7], "2-4, 7, 9-11")],
)
def test_numbers_in_words(numbers, words):
    assert in_words(numbers) == words


def test_markers_that_would_cover_each_other_are_one():
    pixels = np.array([(0, 0), (15, 0), (30, 0), (100, 0), (100, 1)], float)
    found = clusters(pixels, np.full(5, 10.0), range(5))
    assert found == [[0, 1], [2], [3, 4]]
    assert clusters(pixels, np.full(5, 10.0), [1, 0, 2, 3, 4])[0] == [1, 0, 2]
