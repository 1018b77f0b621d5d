import numpy as np
import pytest

from utils.retrieval.building import build_index, check_index, choose_index_type


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


@pytest.mark.parametrize(
    ("index_type", "photos", "coding", "message"),
    [
        ("exact", 40, {"components": 33}, "--components 33: at most 32, since there are 40 photos with embeddings of"),
        ("exact", 20, {"components": 21}, "--components 21: at most 20, since there are 20 photos with embeddings of"),
        ("ivfpq", 20_000, {"components": 8}, "--components is for the exact index"),
        ("ivfpq", 9_983, {}, "9,983 photos are too few .* at least 9,984: --index_type exact"),
        ("ivfpq", 9_984, {"code_bytes": 33}, "--code_bytes 33: at most 32"),
    ],
)
def test_what_embeddings_do_not_allow_is_known_by_their_number_and_length(index_type, photos, coding, message) -> None:
    with pytest.raises(ValueError, match=message):
        check_index(index_type, photos, 32, **coding)


def test_what_embeddings_just_allow() -> None:
    check_index("exact", 20, 32, components=20)
    check_index("ivfpq", 9_984, 32, code_bytes=32)
