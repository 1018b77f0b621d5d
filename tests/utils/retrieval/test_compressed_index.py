from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.retrieval import compressed_index
from utils.retrieval.compressed_index import CHECKED_TOPK, CompressedIndex, ExactTop, recall

DIMENSION, PHOTOS, CODE_BYTES = 32, 10_500, 8


@pytest.fixture(scope="module")
def gallery() -> np.ndarray:
    """Clustered unit vectors in a cone, as photo embeddings are; row 7 is no photo."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(100, DIMENSION)) * np.arange(1, DIMENSION + 1) ** -0.5
    vectors = centres[random.integers(100, size=PHOTOS)] + 0.3 * random.normal(size=(PHOTOS, DIMENSION)) + 0.3
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[7] = np.nan
    return vectors.astype(np.float32)


@pytest.fixture(scope="module")
def folder(gallery: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The saved index of ``gallery``, whose row 9 is not usable, beside its embeddings."""
    folder = tmp_path_factory.mktemp("index")
    np.save(folder / "embeddings.npy", gallery)
    CompressedIndex.build(gallery, CODE_BYTES, np.arange(PHOTOS) != 9, reverse=True).save(folder)
    return folder


def brute_force(gallery: np.ndarray, queries: np.ndarray, topk: int) -> np.ndarray:
    scores = queries.astype(np.float64) @ np.delete(gallery, [7, 9], axis=0).T
    return np.delete(np.arange(PHOTOS), [7, 9])[np.argsort(-scores, axis=1, kind="stable")[:, :topk]]


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), chunk=st.integers(1, 40), topk=st.integers(1, 12), own=st.booleans())
def test_exact_top_is_brute_force(seed: int, chunk: int, topk: int, own: bool) -> None:
    vectors = np.random.default_rng(seed).normal(size=(30, 4)).astype(np.float32)
    top = ExactTop(vectors[:3], topk, np.arange(3) if own else None)
    for start in range(0, 30, chunk):
        top.update(vectors[start : start + chunk], np.arange(start, min(30, start + chunk)))
    scores = vectors[:3] @ vectors.T
    if own:
        scores[np.arange(3), np.arange(3)] = -np.inf
    np.testing.assert_array_equal(top.rows, np.argsort(-scores, axis=1)[:, :topk])
    assert recall(top.rows, top.rows) == 1


@pytest.mark.parametrize("reverse", [False, True])
def test_finds_nearly_what_exact_search_finds(gallery: np.ndarray, folder: Path, reverse: bool) -> None:
    index = CompressedIndex.load(folder)
    assert index.photos == PHOTOS - 2
    assert index.bytes_per_photo == CODE_BYTES + 8
    queries = gallery[100:200] + 0.02
    rows, scores = index.search(queries, CHECKED_TOPK, reverse)
    exact = brute_force(gallery, -queries if reverse else queries, CHECKED_TOPK)
    promised = index.least if reverse else index.most
    assert promised.recall >= 0.95
    assert recall(rows, exact) >= promised.recall - 0.03
    # The order and the scores are those of the full embeddings.
    cosines = np.einsum("md,mkd->mk", -queries if reverse else queries, gallery[rows])
    np.testing.assert_allclose(scores, cosines, atol=1e-6)
    assert (np.diff(scores) <= 0).all()


def test_looking_through_every_cell_for_all_photos_is_exact(gallery: np.ndarray, folder: Path) -> None:
    index = CompressedIndex.load(folder)
    rows, _ = index.search(gallery[100:102], PHOTOS - 2)  # more than the nearest cells hold
    np.testing.assert_array_equal(np.sort(rows[0]), np.delete(np.arange(PHOTOS), [7, 9]))
    np.testing.assert_array_equal(rows[:, :50], brute_force(gallery, gallery[100:102], 50))


def test_measured_recall_is_that_of_search(gallery: np.ndarray, folder: Path) -> None:
    index = CompressedIndex.load(folder)
    queries = gallery[300:340] + 0.02
    rows = np.delete(np.arange(PHOTOS), [7, 9])
    checks = ExactTop(queries, CHECKED_TOPK), ExactTop(-queries, CHECKED_TOPK)
    for check in checks:
        check.update(gallery[rows], rows)
    index.tune(*checks)
    width = compressed_index.SHORTLIST * CHECKED_TOPK
    for check, probes, reverse in zip(checks, (index.most, index.least), (False, True), strict=True):
        found, _ = index.search(queries, CHECKED_TOPK, reverse)
        assert recall(found, check.rows) == recall(index.shortlist(check.queries, width, probes.count), check.rows)


def test_without_reverse_nothing_is_measured_for_it(gallery: np.ndarray, folder: Path, tmp_path: Path) -> None:
    index = CompressedIndex.load(folder)
    check = ExactTop(gallery[300:340], CHECKED_TOPK)
    rows = np.delete(np.arange(PHOTOS), [7, 9])
    check.update(gallery[rows], rows)
    index.tune(check)
    index.save(tmp_path)
    np.save(tmp_path / "embeddings.npy", gallery)
    found = CompressedIndex.load(tmp_path)
    assert (found.most, found.least) == (index.most, None)
    with pytest.raises(ValueError, match="built without --reverse"):
        found.search(gallery[:1], 1, reverse=True)


def test_another_gallery_with_the_same_codes(gallery: np.ndarray, folder: Path) -> None:
    more = gallery[1000:1500].copy()
    more[3] = np.nan
    index = CompressedIndex.load(folder).another(more)
    assert index.photos == 499
    rows, scores = index.search(more[10:20], 1)
    np.testing.assert_array_equal(rows[:, 0], np.arange(10, 20))
    np.testing.assert_allclose(scores, 1, atol=1e-6)


def test_impossible_requests_are_errors(gallery: np.ndarray, folder: Path) -> None:
    with pytest.raises(ValueError, match=r"9,000 photos are too few .* search exactly"):
        CompressedIndex.build(gallery[1000:10_000], CODE_BYTES)
    with pytest.raises(ValueError, match="33 bytes a photo: at most 32"):
        CompressedIndex.build(gallery, 33)
    with pytest.raises(ValueError, match="topk is 0"):
        CompressedIndex.load(folder).search(gallery[:1], 0)
