from pathlib import Path

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from tests.training_world import build_broken_jpegs, build_training_world
from utils.geo_ranker import GeoRanker
from utils.model.features import EncodedPhotos
from utils.model.packing import image_key
from utils.photos.store import ImageStore
from utils.training.batches import EvaluationGroups, GroupCollator, Groups, TrainingGroups, show
from utils.training.georanking import GeoRankingRow, read_georanking
from utils.training.groups import GroupRule, evaluation_group
from utils.training.photos import GroupPhotos


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """See ``build_training_world``."""
    return build_training_world(tmp_path_factory.mktemp("world"))


def test_what_is_shown_instead_of_broken_photos(world, tiny_base, tmp_path):
    broken = build_broken_jpegs(world, tmp_path)
    rows, _ = read_georanking(tmp_path / "train.parquet")
    ranker = GeoRanker.from_pretrained(tiny_base, device="cpu")
    photos = GroupPhotos.alike(EncodedPhotos(ImageStore.from_paths([tmp_path / "photos.tar"]), ranker.packer))
    groups = EvaluationGroups(rows, GroupRule(), photos)
    shown = [groups[number] for number in range(len(rows))]
    instead = {2: 3, 6: 8, 7: 8}
    assert [group.query.image for group in shown] == [rows[instead.get(i, i)].img_id for i in range(16)]
    lost = {2: [rows[3].ref_img_id[1]], 3: [rows[3].ref_img_id[1]], 4: [broken[3]], 5: [broken[3]]}
    for number, group in enumerate(shown):
        row = rows[instead.get(number, number)]
        kept = [image_id for image_id in row.ref_img_id[1:6] if image_id not in lost.get(number, [])]
        assert [candidate.image for candidate in group.query.candidates] == kept
        assert set(group.photos) == {row.img_id, *kept}
        assert len(group.distances) == len(kept)
        assert (group.distances < 0).all() == (number in instead), "a stand-in does not count"
    assert [(entry.photo, entry.is_row) for entry in shown[2].left_out] == [(broken[0], True), (broken[2], False)]
    assert [(entry.photo, entry.is_row) for entry in shown[6].left_out] == [
        *[(broken[2], False)] * 4,
        (None, True),
        (broken[1], True),
    ]
    assert shown[0].left_out == ()


def test_epochs_show_every_row_once_in_a_new_order(world):
    rows, _ = read_georanking(world / "train.parquet")
    groups = TrainingGroups(rows, GroupRule(), None, batch_size=4, steps=8, seed=5)
    orders = []
    for epoch in range(2):
        groups.set_epoch(epoch)
        orders.append([groups.draw(number).image for number in range(len(groups))])
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(row.img_id for row in rows)
    assert orders[0] != orders[1]
    assert orders[0] != [groups.draw(number).image for number in range(len(groups))]
    other = TrainingGroups(rows, GroupRule(), None, batch_size=4, steps=8, seed=6)
    assert [other.draw(number).image for number in range(len(other))] != orders[0]


def test_a_row_without_photo_gives_its_place_to_the_next(world, tiny_base):
    ranker = GeoRanker.from_pretrained(tiny_base, device="cpu")
    rows, _ = read_georanking(world / "train.parquet")
    queries = [evaluation_group(row, GroupRule()) for row in rows[:3]]
    photos = GroupPhotos.alike(EncodedPhotos(ImageStore.from_paths([world / "photos"]), ranker.packer))
    lost = [GeoRankingRow("gone", r.gps, r.ref_gps, r.ref_img_id, r.ref_texts) for r in rows[1:2]]
    queries[1] = evaluation_group(lost[0], GroupRule())
    groups = Groups(3, queries.__getitem__, photos)
    assert [groups[number].query.image for number in range(3)] == [
        "query_0.png",
        "query_2.png",
        "query_2.png",
    ]
    with pytest.raises(ValueError, match="usable photos"):
        Groups(1, lambda number: queries[1], photos)[0]


def test_collator_packs_groups_of_different_sizes(world, tiny_base):
    ranker = GeoRanker.from_pretrained(tiny_base, device="cpu")
    rows, _ = read_georanking(world / "train.parquet")
    photos = GroupPhotos.alike(EncodedPhotos(ImageStore.from_paths([world / "photos"]), ranker.packer))
    groups = [
        show(evaluation_group(rows[0], GroupRule(group_size=4)), photos),
        show(evaluation_group(rows[1], GroupRule(group_size=2)), photos),
    ]
    batch = GroupCollator(ranker.packer)(groups)
    assert batch["packed"].group_sizes == [4, 2]
    one, two = (group.distances for group in groups)
    assert torch.equal(batch["distances"], torch.stack([one, torch.tensor([*two, -1.0, -1.0])]))
    with torch.no_grad():
        together = ranker(batch["packed"]).split([4, 2])
        alone = [ranker(GroupCollator(ranker.packer)([group])["packed"]) for group in groups]
    assert torch.allclose(pad_sequence(together), pad_sequence(alone), atol=1e-4)
    assert all(image_key(group.query.image) in group.photos for group in groups)
