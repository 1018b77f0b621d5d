import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.auditing.buckets import RADIUS, Buckets


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**32 - 1))
def test_all_hashes_within_the_radius_are_found_and_no_others(seed):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 2**64, 300, dtype=np.uint64)
    asked = codes[:40].copy()
    for number in range(len(asked)):  # 0 to 12 bits off: inside of the radius, at it and beyond
        for bit in rng.choice(64, number % 13, replace=False):
            asked[number] ^= np.uint64(1) << np.uint64(bit)
    buckets = Buckets(np.concatenate([codes, codes[:100]]))
    found = {
        (int(one), int(buckets.codes[other])): int(bits)
        for one, other, bits in zip(*buckets.search(asked), strict=True)
    }
    distances = np.bitwise_count(asked[:, None] ^ codes[None])
    near = np.argwhere(distances <= RADIUS)
    assert found == {(int(one), int(codes[other])): int(distances[one, other]) for one, other in near}


def test_photos_of_one_hash_are_counted_and_named_up_to_a_number():
    buckets = Buckets(np.array([7, 3, 7, 7, 9], dtype=np.uint64))
    assert dict(zip(buckets.codes.tolist(), buckets.counts.tolist(), strict=True)) == {3: 1, 7: 3, 9: 1}
    assert buckets.rows(1, 10).tolist() == [0, 2, 3]
    assert buckets.rows(1, 2).tolist() == [0, 2]
    assert [part.tolist() for part in buckets.search(np.empty(0, dtype=np.uint64))] == [[], [], []]
