from pathlib import Path

import numpy as np
import pytest

from tests.photos import write_photos
from utils.photos.store import ImageStore
from utils.retrieval.embedding import compute_dtype, embed_photos, load_encoder


@pytest.fixture
def photos(tmp_path: Path, make_image) -> tuple[list[str], ImageStore]:
    return write_photos(tmp_path / "photos", make_image)


def test_unreadable_photos_are_named_and_cost_no_others(photos, tiny_base: Path) -> None:
    ids, store = photos
    encoder = load_encoder(tiny_base)
    embeddings, problems = embed_photos(encoder, ids, store, batch_size=2)
    assert np.isnan(embeddings).all(1).tolist() == [False, False, True, False, True, False]
    for row in (0, 1, 3, 5):
        np.testing.assert_allclose(embeddings[row], encoder.encode([store.open(ids[row])])[0], atol=1e-6)
    assert len(problems) == 2
    assert problems[0].startswith("2.png in ")
    assert problems[1].startswith("4.png in ")
    elsewhere, same = embed_photos(encoder, ids, store, batch_size=2, workers=2)
    np.testing.assert_array_equal(elsewhere, embeddings)
    assert len(same) == 2
    # A batch with nothing readable.
    alone, _ = embed_photos(encoder, ids, store, batch_size=1)
    assert np.isnan(alone).all(1).tolist() == [False, False, True, False, True, False]


def test_auto_is_bfloat16_on_a_gpu_only() -> None:
    assert [compute_dtype("auto", device) for device in ("cpu", "cuda", "cuda:3")] == ["auto", "bfloat16", "bfloat16"]
    assert compute_dtype("float32", "cuda") == "float32"
