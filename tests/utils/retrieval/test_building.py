import numpy as np
import pytest

from utils.retrieval.building import build_index, choose_index_type


def test_index_type_by_size() -> None:
    assert choose_index_type("auto", 2**20, 2048, 8) == "exact"
    assert choose_index_type("auto", 2**20 + 1, 2048, 8) == "ivfpq"
    assert choose_index_type("ivfpq", 1, 1, 8) == "ivfpq"
    assert choose_index_type("exact", 2**40, 2048, 8) == "exact"


def test_components_are_for_the_exact_index() -> None:
    vectors = np.eye(4, dtype=np.float32)
    with pytest.raises(ValueError, match="--components is for the exact index"):
        build_index(vectors, np.ones(4, dtype=bool), "ivfpq", components=2)
    index, trade_off = build_index(vectors, np.array([True, True, False, True]), "exact", components=0)
    assert (index.photos, trade_off) == (3, "searched exactly")
