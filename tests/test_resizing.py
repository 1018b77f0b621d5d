"""Photos are resized as qwen-vl-utils does it, for models trained with it.

Its rule, as its documentation has it: both sides become multiples of 28 pixels, the number of pixels lies between two
limits, and the proportions are kept as nearly as that allows. A side goes to the nearest multiple; where that makes too
many pixels both sides shrink by one factor and are rounded down, where too few they grow by one and are rounded up.
"""

import math
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from transformers import AutoTokenizer
from transformers.models.auto.image_processing_auto import AutoImageProcessor

from utils.model.packing import Packer

FACTOR = 28
# Of the released checkpoints; and narrow ones, which most sizes meet.
LIMITS = [(3136, 12_845_056), (40_001, 90_001)]


def rule(height: int, width: int, least: int, most: int) -> tuple[int, int]:
    """(height, width) in pixels, in whole numbers alone."""

    def floor(side: int, other: int) -> int:
        return FACTOR * math.isqrt(side * most // (FACTOR**2 * other))

    def ceil(side: int, other: int) -> int:
        return FACTOR * (math.isqrt(-(-side * least // (FACTOR**2 * other)) - 1) + 1)

    nearest = [FACTOR * round(side / FACTOR) for side in (height, width)]
    if math.prod(nearest) > most:
        return max(FACTOR, floor(height, width)), max(FACTOR, floor(width, height))
    if math.prod(nearest) < least:
        return ceil(height, width), ceil(width, height)
    return nearest[0], nearest[1]


def sizes(count: int, largest: int) -> list[tuple[int, int]]:
    """(height, width) of at least 42 pixels and up to 60 : 1, from small to large alike."""
    generator = np.random.default_rng(0)
    drawn = np.exp(generator.uniform(math.log(42), math.log(largest), (count, 2))).astype(int)
    return [(height, width) for height, width in drawn.tolist() if max(height, width) <= 60 * min(height, width)]


@pytest.fixture(scope="module")
def packer(tiny_base) -> Callable[[int, int], Packer]:
    """A packer with limits of the number of pixels."""

    def packer(least: int, most: int) -> Packer:
        processor = AutoImageProcessor.from_pretrained(tiny_base, backend="pil")
        processor.patch_size = FACTOR // processor.merge_size
        processor.size = {"shortest_edge": least, "longest_edge": most}
        return Packer(AutoTokenizer.from_pretrained(tiny_base), processor, lambda: None, "published")

    return packer


@pytest.mark.parametrize("limits", LIMITS)
def test_photos_get_the_size_of_the_rule(packer, limits):
    ours = packer(*limits)
    for height, width in sizes(60, 400):
        _, rows, columns = ours.encode(Image.new("RGB", (width, height))).grid_thw.tolist()
        assert (14 * rows, 14 * columns) == rule(height, width, *limits), (height, width)


@pytest.mark.parametrize("limits", LIMITS)
def test_any_size_has_as_many_patches_as_the_rule_says(packer, limits):
    count = packer(*limits).image_processor.get_number_of_image_patches
    for height, width in sizes(3000, 12_000):
        assert count(height, width) == math.prod(rule(height, width, *limits)) // 14**2, (height, width)


@pytest.mark.parametrize("limits", LIMITS)
def test_the_rule_is_that_of_qwen_vl_utils(limits):
    """The package itself needs torchvision."""
    package = pytest.importorskip("qwen_vl_utils.vision_process", exc_type=ImportError)
    least, most = limits
    for height, width in sizes(3000, 12_000):
        theirs = package.smart_resize(height, width, factor=FACTOR, min_pixels=least, max_pixels=most)
        assert theirs == rule(height, width, *limits), (height, width)
