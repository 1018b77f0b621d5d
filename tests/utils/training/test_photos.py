"""Photos that groups show in two forms: as large as a query's, as small as a candidate's."""

from dataclasses import replace

import pytest
import torch

from tests.naive import naive_rewards
from tests.training_world import build_training_world
from utils.geo_ranker import GeoRanker
from utils.jobs.processes import Processes, SharedWork
from utils.model.preprocessing import load_image_processor
from utils.photos.store import ImageStore
from utils.training.batches import GroupCollator, show
from utils.training.groups import GroupRule, evaluation_group
from utils.training.photos import open_photos
from utils.training.rows import TrainingData


@pytest.mark.parametrize("cached", [False, True])
def test_a_photo_is_large_as_a_query_and_small_as_a_candidate(tmp_path, tiny_base, cached):
    world, rule = build_training_world(tmp_path), GroupRule(group_size=3)
    ranker = GeoRanker.from_pretrained(tiny_base, device="cpu", candidate_max_pixels=64)
    torch.nn.init.normal_(ranker.score.weight)
    store = ImageStore.from_paths([world / "photos"])
    data = TrainingData.read(world / "train.parquet", 2)
    photos, known = open_photos(store, data, rule, ranker, None, tmp_path / "cache" if cached else None, Processes(), 0)
    assert all(name in known for name in [*data.query_photos(), *data.candidate_photos(rule)])
    assert data.usable(rule, known) == data
    one, two = (evaluation_group(row, rule) for row in data.training.rows)
    # In one batch, the first query's photo is a candidate's of the second one.
    queries = [one, replace(two, candidates=(*two.candidates[:2], replace(two.candidates[2], image=one.image)))]
    if cached:
        photos.candidates.fill(ranker.backbone, SharedWork([one.image], Processes(), "one"))
    batch = GroupCollator(ranker.packer)([show(query, photos) for query in queries])["packed"]
    shown = {
        name: store.open(name) for query in queries for name in [query.image, *(c.image for c in query.candidates)]
    }
    smaller = load_image_processor(tiny_base)
    smaller.size = {"shortest_edge": 64, "longest_edge": 64}
    with torch.no_grad():
        expected = naive_rewards(ranker.backbone, ranker.score, ranker.packer, queries, shown, smaller)
        torch.testing.assert_close(ranker(batch), expected, atol=1e-4, rtol=1e-4)
