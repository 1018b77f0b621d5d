from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from utils.retrieval import exact_index
from utils.retrieval.exact_index import ExactIndex, principal_components


def unit_rows(count: int, dimension: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, dimension)) + 0.5
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def brute_force(index: ExactIndex, gallery: np.ndarray, queries: np.ndarray, topk: int) -> np.ndarray:
    """Gallery rows by distance of their codes in float64, ties by row, NaN last."""
    codes, wanted = index.codes(gallery), index.codes(queries).astype(np.float64)
    squares = np.array([[np.square(query - code).sum() for code in codes] for query in wanted])
    return np.argsort(np.where(np.isnan(squares), np.inf, squares), axis=1, kind="stable")[:, :topk]


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(6, 60),
    components=st.sampled_from([0, 1, 4]),
    topk=st.integers(1, 5),
    copies=st.integers(0, 40),
    unreadable=st.integers(0, 1),
)
def test_search_is_brute_force_with_ties_by_row(seed, count, components, topk, copies, unreadable) -> None:
    gallery = unit_rows(count, 12, seed)
    gallery = np.concatenate([gallery, np.repeat(gallery[1:2], copies, axis=0), gallery[2:4]])
    gallery[:unreadable] = np.nan
    index = ExactIndex.build(gallery, components)
    queries = np.concatenate([gallery[1:3], unit_rows(3, 12, seed + 1)])
    rows, scores = index.search(queries, topk)
    np.testing.assert_array_equal(rows, brute_force(index, gallery, queries, topk))
    assert (np.diff(scores) <= 0).all()
    assert rows.dtype == np.int64
    assert scores.dtype == np.float32


def test_ties_beyond_one_chunk_of_the_gallery(monkeypatch) -> None:
    monkeypatch.setattr(exact_index, "CHUNK", 7)
    monkeypatch.setattr(exact_index, "QUERY_CHUNK", 2)
    gallery = np.concatenate([unit_rows(20, 6, 0), np.repeat(unit_rows(1, 6, 1), 60, axis=0)])
    index = ExactIndex.build(gallery, 3)
    queries = np.concatenate([unit_rows(1, 6, 1), gallery[:4]])
    np.testing.assert_array_equal(index.search(queries, 5)[0], brute_force(index, gallery, queries, 5))


def test_full_embeddings_score_their_cosine_and_reverse_is_the_least_similar() -> None:
    gallery, queries = unit_rows(50, 8, 0), unit_rows(4, 8, 1)
    index = ExactIndex.build(gallery, 0)
    similarity = queries.astype(np.float64) @ gallery.T
    rows, scores = index.search(queries, 10)
    np.testing.assert_array_equal(rows, np.argsort(-similarity, axis=1)[:, :10])
    np.testing.assert_allclose(scores, -np.sort(-similarity, axis=1)[:, :10], atol=1e-6)
    least, _ = index.search(queries, 10, reverse=True)
    np.testing.assert_array_equal(least, np.argsort(similarity, axis=1)[:, :10])


def test_compressed_scores_are_never_below_the_cosine() -> None:
    gallery, queries = unit_rows(50, 8, 0), unit_rows(4, 8, 1)
    rows, scores = ExactIndex.build(gallery, 3).search(queries, 50)
    assert (scores >= np.einsum("md,mkd->mk", queries, gallery[rows]) - 1e-6).all()


def test_principal_components_are_those_of_scikit_learn(monkeypatch) -> None:
    monkeypatch.setattr(exact_index, "CHUNK", 16)
    embeddings = unit_rows(100, 10, 0) * np.linspace(1, 3, 10)
    rows = np.arange(5, 95)
    mean, components = principal_components(embeddings, rows, 4)
    reference = PCA(4, svd_solver="full").fit(embeddings[rows])
    np.testing.assert_allclose(mean, reference.mean_, atol=1e-10)
    np.testing.assert_allclose(np.abs((components * reference.components_).sum(1)), 1, atol=1e-8)
    assert (components[np.arange(4), np.abs(components).argmax(1)] > 0).all()


@pytest.mark.parametrize("components", [0, 3])
def test_saved_index_finds_the_same(tmp_path: Path, components: int) -> None:
    gallery, queries = unit_rows(50, 8, 0), unit_rows(4, 8, 1)
    gallery[7] = np.nan
    usable = np.arange(50) != 9
    index = ExactIndex.build(gallery, components, usable)
    index.save(tmp_path)
    loaded = ExactIndex.load(tmp_path)
    for reverse in (False, True):
        for before, after in zip(index.search(queries, 48, reverse), loaded.search(queries, 48, reverse), strict=True):
            np.testing.assert_array_equal(before, after)
    rows, _ = loaded.search(queries, 48)
    assert all(set(found) == set(range(50)) - {7, 9} for found in rows.tolist())


def test_impossible_requests_are_errors() -> None:
    gallery = unit_rows(5, 8, 0)
    with pytest.raises(ValueError, match="6 components of 5 embeddings of length 8"):
        ExactIndex.build(gallery, 6)
    with pytest.raises(ValueError, match="no photo"):
        ExactIndex.build(np.full((3, 8), np.nan, dtype=np.float32), 0)
    with pytest.raises(ValueError, match="topk is 6, but the index holds 5"):
        ExactIndex.build(gallery, 2).search(gallery, 6)
