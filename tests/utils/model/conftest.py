from types import SimpleNamespace

import pytest
import torch

from tests.packed import SIZES, segment
from utils.geo_ranker import GeoRanker
from utils.model.batch import PackedBatch, TokenizedQuery
from utils.model.packing import Packer

IMAGE, PAD = 9, 0  # token ids of the hand-made examples


@pytest.fixture
def hand_made() -> PackedBatch:
    """Two queries with one and two candidates; photo `a` has 1 token, `b` 2; `b` is shown three times."""
    encoded = {
        name: SimpleNamespace(
            grid_thw=torch.tensor([1, 2, 2 * tokens]),
            pixel_values=torch.full((4 * tokens, 1), float(tokens)),
            features=None,
        )
        for name, tokens in (("unused", 5), ("a", 1), ("b", 2))
    }
    packer = object.__new__(Packer)
    packer.tokenizer = SimpleNamespace(pad_token_id=PAD)
    packer.image_processor = SimpleNamespace(merge_size=2)
    packer.image_token_id = IMAGE
    return packer.collate(
        [
            TokenizedQuery(segment([1, IMAGE, IMAGE], ["b"]), [segment([2], start=3)]),
            TokenizedQuery(
                segment([IMAGE, 3], ["a"]),
                [segment([4, IMAGE, IMAGE, 5], ["b"], start=2), segment([6, 7], start=2)],
            ),
        ],
        encoded,
    )


@pytest.fixture(scope="module")
def ranker(tiny_bases) -> GeoRanker:
    """Of the family with features of several layers."""
    ranker = GeoRanker.from_pretrained(tiny_bases["qwen3_vl"], device="cpu")
    torch.manual_seed(1)
    torch.nn.init.normal_(ranker.score.weight)
    return ranker


@pytest.fixture(scope="module")
def encoded(ranker, make_image):
    return {name: ranker.packer.encode(make_image(*size)) for name, size in SIZES.items()}
