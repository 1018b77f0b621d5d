import torch

from utils.geo_ranker import GeoRanker
from utils.model.tower import tower_fingerprint


def test_another_tower_has_a_folder_of_its_own(tiny_bases, ranker):
    base = tiny_bases["qwen3_vl"]
    same, layout, limited, half = (
        GeoRanker.from_pretrained(base, device="cpu", **settings)
        for settings in ({}, {"layout": "negatives_first"}, {"max_pixels": 512}, {"dtype": torch.bfloat16})
    )
    changed = GeoRanker.from_pretrained(base, device="cpu")
    with torch.no_grad():
        next(changed.backbone.visual.parameters()).flatten()[0] += 1

    def fingerprint(ranker):
        return tower_fingerprint(ranker.backbone, ranker.packer)

    first = fingerprint(ranker)
    assert fingerprint(same) == fingerprint(layout) == first
    assert len({first, *map(fingerprint, (limited, half, changed))}) == 4
