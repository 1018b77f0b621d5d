from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.embeddings import unit_rows
from utils.retrieval.exact_index import ExactIndex
from utils.retrieval.exclusions import Exclusion, same_author, same_id, same_owner, search_excluding


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
    assert same_owner(queries, gallery, "^(no|)")(*all_pairs).tolist() == [[0] * 4, [0] * 4, [0, 0, 0, 1]]
    for pattern, message in (
        ("(", "no regular expression"),
        ("a", "0 groups"),
        ("(x)(y)", "2 groups"),
        ("(zz)", "no IMG_ID"),
        ("^(x*)", "no IMG_ID"),
    ):
        with pytest.raises(ValueError, match=message):
            same_owner(queries, gallery, pattern)


def ledger(path: Path, *authors: tuple[str, str]) -> list[tuple[pd.Series, Path]]:
    """A side of photos 0, 1, ... of ``authors`` (id, name)."""
    rows = "".join(f"{number},{author},{key},,,\n" for number, (key, author) in enumerate(authors))
    path.write_text(f"IMG_ID,author,author_id,licence,licence_url,source\n{rows}")
    return [(pd.Series([str(number) for number in range(len(authors))]), path)]


def test_authors_by_id_and_else_by_name(tmp_path: Path) -> None:
    queries = ledger(tmp_path / "q.csv", ("1", "ann"), ("", "ann"), ("2", "bob"), ("", ""), ("3", ""))
    gallery = ledger(tmp_path / "g.csv", ("1", "renamed"), ("9", "ann"), ("", "ann"), ("", "bob"), ("", ""))
    pairs = (np.arange(5), np.tile(np.arange(5), (5, 1)))
    found = np.any([excluded(*pairs) for excluded in same_author(queries, gallery)], axis=0)
    assert found.tolist() == [[1, 0, 1, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 1, 0], [0] * 5, [0] * 5]
    named, numbered, nobody = (
        ledger(tmp_path / f"{name}.csv", author)
        for name, author in (("named", ("", "ann")), ("numbered", ("1", "")), ("nobody", ("", "")))
    )
    for sides in ((named, numbered), (numbered, named), (nobody, gallery), (queries, nobody)):
        with pytest.raises(ValueError, match=r"have neither author_id nor author in common: no owner is known"):
            same_author(*sides)
