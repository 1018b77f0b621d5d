from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data._utils.pin_memory import pin_memory

from tests.packed import SIZES
from utils.candidates import Candidate, Query
from utils.model.batch import CALL_TOKENS, PackedBatch, part


def test_rows(hand_made):
    rows = hand_made.rows()
    assert rows.ids.tolist() == [[1, 9, 9, 2, 0, 0, 0, 0], [9, 3, 4, 9, 9, 5, 6, 7]]
    assert rows.segment.tolist() == [[0, 0, 0, 1, -1, -1, -1, -1], [0, 0, 1, 1, 1, 1, 2, 2]]
    assert rows.image_rows.tolist() == [[-1, 0, 1, -1, -1, -1, -1, -1], [2, -1, -1, 0, 1, -1, -1, -1]]
    assert rows.positions[1].tolist() == [
        [100, 101, 102, 103, 0, 0, 0, 0],
        [100, 101, 102, 103, 104, 105, 102, 103],
    ]
    assert rows.last.nonzero().tolist() == [[0, 3], [1, 5], [1, 7]]


def test_by_prefix_length(hand_made):
    """Each part without padding behind prefixes, and all of them what the batch holds."""
    (first, short), (second, long) = hand_made.by_prefix_length()
    assert (first.tolist(), second.tolist()) == ([1, 2], [0])
    assert short.prefix_ids.tolist() == [[9, 3]]
    assert long.prefix_ids.tolist() == [[1, 9, 9]]
    assert short.prefix_image_rows.tolist() == [[2, -1]]
    assert short.suffix_ids.tolist() == [[4, 9, 9, 5], [6, 7, 0, 0]]
    assert long.suffix_ids.tolist() == [[2, 0, 0, 0]]
    assert short.suffix_positions[1].tolist() == [[102, 103, 104, 105], [102, 103, 0, 0]]
    assert short.query_index.tolist() == [0, 0]
    assert long.query_index.tolist() == [0]
    assert short.prefix_mask.all()
    assert long.prefix_mask.all()
    assert short.pixel_values is hand_made.pixel_values


def test_by_prefix_length_keeps_queries_of_one_length_together(ranker, encoded):
    places = (Candidate(1.0, 2.0), Candidate(3.0, 4.0, ("x",)))
    queries = [Query("tiny.jpg", places), Query("wide.jpg", places[:1]), Query("tiny.jpg", places[:1])]
    parts = ranker.packer.pack(queries, encoded).by_prefix_length()
    assert sorted((chosen.tolist(), part.query_index.tolist()) for chosen, part in parts) == [
        ([0, 1, 3], [0, 0, 1]),
        ([2], [0]),
    ]


@pytest.mark.parametrize("seed", range(20))
def test_suffixes_by_length(hand_made, seed):
    """The cut that saves the most padding, all of them tried one after the other."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 60 + 10 * seed, (15,), generator=generator)
    batch = replace(hand_made, suffix_mask=torch.arange(int(lengths.max())) < lengths[:, None])
    parts = batch.suffixes_by_length()
    assert sorted(torch.cat(parts).tolist()) == list(range(15))
    ordered = lengths.sort(descending=True).values.tolist()
    best = min(cut * ordered[0] + (15 - cut) * ordered[cut] for cut in range(15))
    if 15 * ordered[0] - best >= CALL_TOKENS:
        assert [len(part) > 0 for part in parts] == [True, True]
        assert sum(len(part) * int(lengths[part].max()) for part in parts) == best
    else:
        assert [part.tolist() for part in parts] == [list(range(15))]


def test_a_data_loader_pins_every_tensor(hand_made, monkeypatch):
    """Here without a GPU, which pinning takes; ``pin_memory`` is what the loader of a training calls."""
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: pinned.append(tensor) or tensor.clone())
    copy = pin_memory({"packed": hand_made, "left_out": []})["packed"]
    assert isinstance(copy, PackedBatch)
    assert len(pinned) == sum(tensor is not None for tensor in vars(hand_made).values())
    for name, tensor in vars(copy).items():
        assert tensor is None or torch.equal(tensor, getattr(hand_made, name)), name


def test_to_moves_every_tensor(hand_made):
    moved = hand_made.to("meta")
    for name, tensor in vars(moved).items():
        assert tensor is None or tensor.is_meta, name
    assert moved.features is None


candidates = st.builds(
    Candidate,
    st.floats(-90, 90),
    st.floats(-180, 180),
    st.lists(st.text(max_size=8), max_size=2).map(tuple),
    st.sampled_from([None, *SIZES]),
)
groups = st.lists(
    st.builds(Query, st.sampled_from(list(SIZES)), st.lists(candidates, min_size=1, max_size=4).map(tuple)),
    min_size=1,
    max_size=3,
)


@settings(deadline=None, max_examples=25)
@given(queries=groups, data=st.data())
def test_a_part_is_what_packing_its_candidates_gives(ranker, encoded, queries, data):
    batch = ranker.packer.pack(queries, encoded)
    slots = [(query, candidate) for query in queries for candidate in query.candidates]
    start = data.draw(st.integers(0, len(slots) - 1))
    stop = data.draw(st.integers(start + 1, len(slots)))
    found = part(batch, start, stop, ranker.packer.image_processor.merge_size)
    first, last = int(batch.query_index[start]), int(batch.query_index[stop - 1])
    sizes = torch.bincount(batch.query_index[start:stop] - first).tolist()
    ends = torch.tensor(sizes).cumsum(0).tolist()
    expected = ranker.packer.pack(
        [
            Query(query.image, tuple(candidate for _, candidate in slots[start + end - size : start + end]))
            for query, size, end in zip(queries[first : last + 1], sizes, ends, strict=True)
        ],
        encoded,
    )
    for name in ("prefix_ids", "prefix_mask", "suffix_ids", "suffix_mask", "suffix_positions", "query_index"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name
    assert len(found.image_grid_thw) == len(expected.image_grid_thw)
    with torch.inference_mode():
        torch.testing.assert_close(ranker(found), ranker(batch)[start:stop], atol=1e-4, rtol=1e-4)
