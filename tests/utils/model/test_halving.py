import weakref

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.naive import naive_rewards
from tests.packed import SIZES
from utils.candidates import Candidate, Query
from utils.model.batch import part
from utils.model.halving import in_halves, score_in_halves
from utils.model.tower import with_features

QUERIES = [
    Query("high.jpg", tuple(Candidate(i, i, image=name) for i, name in enumerate(["wide.jpg", None, "tiny.jpg"]))),
    Query("square.jpg", (Candidate(9, 9, ("Rome", "Italy"), "wide.jpg"),)),
]


def tokens(batch) -> int:
    return batch.prefix_ids.numel() + batch.suffix_ids.numel()


@pytest.mark.parametrize("features_known", [False, True])
@pytest.mark.parametrize("limit", [10**6, 120, 80])
def test_too_large_batches_are_halved(ranker, encoded, tiny_bases, make_image, limit, features_known, caplog):
    """Memory is simulated: more tokens than ``limit`` do not fit."""
    photos = {name: make_image(*size) for name, size in SIZES.items()}
    if features_known:
        encoded = dict(zip(encoded, with_features(ranker.backbone, ranker.packer, list(encoded.values())), strict=True))

    def score(batch):
        if tokens(batch) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.")
        return ranker(batch)

    batch = ranker.packer.pack(QUERIES, encoded)
    alone = [tokens(part(batch, i, i + 1, ranker.packer.image_processor.merge_size)) for i in range(4)]
    with torch.inference_mode():
        rewards, lost = score_in_halves(score, batch, ranker.packer.image_processor.merge_size)
        expected = naive_rewards(ranker.backbone, ranker.score, ranker.packer, QUERIES, photos)
    said = "4 candidates together do not fit into memory and are halved: CUDA out of memory"
    assert caplog.messages[:1] == ([said] if tokens(batch) > limit else [])
    assert lost == [number for number, size in enumerate(alone) if size > limit]
    assert rewards.isnan().nonzero().flatten().tolist() == lost
    fits = [number for number in range(4) if number not in lost]
    torch.testing.assert_close(rewards[fits], expected[fits], atol=1e-4, rtol=1e-4)


def test_other_errors_are_not_taken_for_a_lack_of_memory(ranker, encoded):
    def score(batch):
        raise RuntimeError("a defect")

    with pytest.raises(RuntimeError, match="a defect"):
        score_in_halves(score, ranker.packer.pack(QUERIES, encoded), 2)


@given(start=st.integers(0, 3), count=st.integers(1, 20), room=st.integers(0, 8), huge=st.sets(st.integers(0, 22)))
def test_every_item_is_in_one_part_in_order(start, count, room, huge):
    """Work of which ``room`` items fit, and none of the ``huge`` ones."""
    stop, tried = start + count, []

    def work(first, last):
        tried.append((first, last))
        if last - first > room or huge & set(range(first, last)):
            raise torch.OutOfMemoryError("no room")
        return list(range(first, last))

    parts = list(in_halves(work, start, stop, "numbers"))
    assert [number for first, last, _ in parts for number in range(first, last)] == list(range(start, stop))
    for first, last, found in parts:
        if found is None:
            assert last == first + 1
            assert room == 0 or first in huge
        else:
            assert found == list(range(first, last))
    assert len(tried) == len(set(tried))


def test_what_filled_the_memory_is_let_go_before_the_halves_are_tried():
    """An exception that is still being handled would hold on to it."""
    alive = []

    class Filling:
        pass

    def work(start, stop):
        assert [reference for reference in alive if reference() is not None] == []
        filling = Filling()
        alive.append(weakref.ref(filling))
        if stop - start > 1:
            raise torch.OutOfMemoryError("no room")
        return start

    assert [found for _, _, found in in_halves(work, 0, 4, "numbers")] == [0, 1, 2, 3]
    assert len(alive) == 7
