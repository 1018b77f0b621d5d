"""Which queries show one picture."""

import pytest

from utils.auditing.pictures import group_sizes


@pytest.mark.parametrize(
    ("copies", "sizes"),
    [
        ({}, {}),
        ({4: [9]}, {4: 2, 9: 2}),
        # A chain of four, each of which is like its neighbours alone; a pair that found each other; one found twice.
        (
            {1: [2], 2: [3], 7: [3], 5: [6], 6: [5], 10: [12], 11: [12]},
            {1: 4, 2: 4, 3: 4, 7: 4} | {5: 2, 6: 2} | {10: 3, 11: 3, 12: 3},
        ),
    ],
)
def test_copies_of_copies_show_the_same_picture(copies, sizes):
    assert group_sizes(copies) == sizes
