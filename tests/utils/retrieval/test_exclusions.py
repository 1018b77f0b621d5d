import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.embeddings import unit_rows
from utils.retrieval.exact_index import ExactIndex
from utils.retrieval.exclusions import Exclusion, same_id, same_owner, search_excluding


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), keys=st.integers(1, 6), topk=st.integers(1, 4), reverse=st.booleans())
def test_what_is_excluded_is_passed_over(seed: int, keys: int, topk: int, reverse: bool) -> None:
    random = np.random.default_rng(seed)
    embeddings, queries = unit_rows(40, 6, seed), unit_rows(5, 6, seed + 1)
    names = np.array([*(f"owner {key}" for key in range(keys)), None], dtype=object)
    gallery_keys, query_keys = names[random.integers(keys + 1, size=40)], names[random.integers(keys + 1, size=5)]
    index = ExactIndex.build(embeddings, 0)

    def wanted(query: int) -> list[int]:
        scores = (-1 if reverse else 1) * (embeddings @ queries[query])
        own = query_keys[query] is not None
        return [row for row in np.argsort(-scores) if not (own and gallery_keys[row] == query_keys[query])][:topk]

    class Searched:
        photos, search = 40, index.search

    excluded = Exclusion(query_keys.tolist(), gallery_keys.tolist())
    nobody = Exclusion([None] * 5, [None] * 40)
    expected = [wanted(query) for query in range(5)]
    if min(map(len, expected)) < topk:
        with pytest.raises(ValueError, match="are left of 40"):
            search_excluding(Searched, queries, topk, [nobody, excluded], reverse)
        return
    rows, scores = search_excluding(Searched, queries, topk, [nobody, excluded], reverse)
    assert rows.tolist() == expected
    np.testing.assert_allclose(
        scores, (-1 if reverse else 1) * np.einsum("md,mkd->mk", queries, embeddings[rows]), atol=1e-6
    )


def test_ids_and_owners() -> None:
    queries = pd.Series(["103433117_266c57c2e6_29_73293249@N00.jpg", "5_a_1@N01.jpg", "no owner.png"])
    gallery = pd.Series(
        ["1_b_73293249@N00.jpg", "103433117_266c57c2e6_29_73293249@N00", "2_c_1@N001.jpg", "no owner.JPG"]
    )
    all_pairs = (np.arange(3), np.tile(np.arange(4), (3, 1)))
    assert same_id(queries, gallery)(*all_pairs).tolist() == [[0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]
    owner = r"(\d+@N\d+)"
    assert same_owner(queries, gallery, owner)(*all_pairs).tolist() == [[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    for pattern, message in (
        ("(", "no regular expression"),
        ("a", "0 groups"),
        ("(x)(y)", "2 groups"),
        ("(zz)", "no IMG_ID"),
    ):
        with pytest.raises(ValueError, match=message):
            same_owner(queries, gallery, pattern)
