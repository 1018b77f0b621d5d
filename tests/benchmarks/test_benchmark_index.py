import time

import numpy as np

from benchmarks.work.index import Clock, SyntheticEmbeddings, measure


def test_embeddings_lie_in_a_cone_around_places() -> None:
    embeddings = SyntheticEmbeddings(20_000, 96)
    vectors = embeddings.chunk(3)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(SyntheticEmbeddings(20_000, 96).chunk(3), vectors)
    assert not np.array_equal(embeddings.chunk(2), vectors)
    cosines = vectors[:500] @ vectors[500:].T
    assert 0.3 < cosines.mean() < 0.5
    assert np.median(cosines.max(axis=1)) > 0.75  # photos of the same place


def test_measures_what_search_finds() -> None:
    result = measure(12_000, 48, 8)
    assert result["bytes_per_photo"] == 16
    assert result["index_file_bytes"] > 12_000 * 16
    recalls = [search["recall@20"] for search in result["searches"]]
    assert recalls == sorted(recalls)
    assert recalls[-1] > 0.95
    assert all(search["recall@20 by codes alone"] <= search["recall@20"] for search in result["searches"])
    assert result["cpu_seconds"].keys() == {"generate", "train", "add", "exact search, to compare"}


def test_inner_phases_are_not_counted_twice() -> None:
    clock = Clock()
    started = time.perf_counter()
    with clock.phase("outer"):
        for _ in range(3):
            with clock.phase("inner"):
                time.sleep(0.01)
    assert clock.wall["inner"] >= 0.03
    assert clock.wall["outer"] >= 0
    assert sum(clock.wall.values()) <= time.perf_counter() - started
