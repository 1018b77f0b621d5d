from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import build_tiny_base
from safetensors.torch import load_file, save_file
from transformers import AutoImageProcessor, AutoModelForImageTextToText

from utils import embedding
from utils.embedding import TowerEncoder, embed_photos, fingerprint, gallery_embeddings
from utils.images import ImageStore


@pytest.fixture
def photos(tmp_path: Path, make_image) -> tuple[list[str], ImageStore]:
    """Ids and store of six photos of different sizes; number 2 is no image, number 4 absurdly long."""
    folder = tmp_path / "photos"
    folder.mkdir()
    ids = [f"{number}.png" for number in range(6)]
    for number, name in enumerate(ids):
        make_image(16 + 8 * number, 24, number).save(folder / name)
    (folder / ids[2]).write_bytes(b"no image")
    make_image(801, 4).save(folder / ids[4])
    return ids, ImageStore.from_paths([folder])


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_mean_of_the_stock_models_image_tokens(family: str, tiny_bases, make_image) -> None:
    images = [make_image(16 + 8 * number, 24, number) for number in range(4)]
    embedded = TowerEncoder.from_pretrained(tiny_bases[family]).encode(images)

    model = AutoModelForImageTextToText.from_pretrained(tiny_bases[family]).eval()
    processor = AutoImageProcessor.from_pretrained(tiny_bases[family], backend="pil")
    for image, row in zip(images, embedded, strict=True):
        inputs = processor(images=image, return_tensors="pt")
        with torch.no_grad():
            (tokens,) = model.model.get_image_features(**inputs).pooler_output
        mean = tokens.numpy().mean(0)
        np.testing.assert_allclose(row, mean / np.sqrt((mean**2).sum()), atol=1e-5)


def test_unreadable_photos_are_named_and_cost_no_others(photos, tiny_base: Path) -> None:
    ids, store = photos
    encoder = TowerEncoder.from_pretrained(tiny_base)
    embeddings, problems = embed_photos(encoder, ids, store, batch_size=2)
    assert np.isnan(embeddings).all(1).tolist() == [False, False, True, False, True, False]
    for row in (0, 1, 3, 5):
        np.testing.assert_allclose(embeddings[row], encoder.encode([store.open(ids[row])])[0], atol=1e-6)
    assert len(problems) == 2
    assert problems[0].startswith("2.png in ")
    assert problems[1].startswith("4.png: ")
    elsewhere, same = embed_photos(encoder, ids, store, batch_size=2, workers=2)
    np.testing.assert_array_equal(elsewhere, embeddings)
    assert len(same) == 2


def test_a_gallery_is_embedded_once(photos, tiny_base: Path, tmp_path: Path, monkeypatch) -> None:
    ids, store = photos
    folder = tmp_path / "index"
    first, problems = gallery_embeddings(folder, tiny_base, ids, store)
    first = np.array(first)
    with monkeypatch.context() as patch:
        patch.setattr(embedding, "embed_photos", None)  # any use would fail
        again, unreadable = gallery_embeddings(folder, tiny_base, ids, store)
    np.testing.assert_array_equal(again, first)
    assert len(problems) == 2
    assert [problem.split(":")[0] for problem in unreadable] == ["2.png", "4.png"]

    other = tmp_path / "other"
    build_tiny_base(other, "qwen2_vl", seed=1)
    assert not np.allclose(gallery_embeddings(folder, other, ids, store)[0][0], first[0])
    assert len(gallery_embeddings(folder, other, ids[:3], store)[0]) == 3


def test_fingerprint_knows_weights_and_preprocessing(tmp_path: Path) -> None:
    def build(name: str, seed: int = 0) -> Path:
        build_tiny_base(tmp_path / name, "qwen2_vl", seed)
        return tmp_path / name

    base = fingerprint(build("base"))
    assert fingerprint(build("same")) == base
    assert fingerprint(build("weights", seed=1)) != base
    resized = build("resized")
    config = resized / "preprocessor_config.json"
    config.write_text(config.read_text().replace("1024", "2048"))
    assert fingerprint(resized) != base


def test_missing_weights_are_an_error(tmp_path: Path, tiny_base: Path) -> None:
    broken = tmp_path / "broken"
    build_tiny_base(broken, "qwen2_vl")
    weights = load_file(broken / "model.safetensors")
    name = next(key for key in weights if key.endswith("patch_embed.proj.weight"))
    del weights[name]
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"patch_embed\.proj\.weight"):
        TowerEncoder.from_pretrained(broken)
