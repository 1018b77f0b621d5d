from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoImageProcessor,
    AutoModelForImageTextToText,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    MetaClip2Config,
    MetaClip2Model,
    Siglip2Config,
    Siglip2ImageProcessorPil,
    Siglip2Model,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
)

from tests.released import write_base
from tests.tiny_models import FAMILIES, build_tiny_base
from utils.retrieval.embedding import load_encoder
from utils.retrieval.encoders import ClipEncoder, TowerEncoder

SIZE = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
TEXT, VISION = {**SIZE, "vocab_size": 50}, {**SIZE, "image_size": 32, "patch_size": 8}
CROP = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}


def build_clip(folder: Path, family: str) -> None:
    """Save a random CLIP-like model with its image processor."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if family == "clip":
            model = CLIPModel(CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=24))
            processor = CLIPImageProcessorPil(**CROP)
        elif family == "metaclip_2":
            model = MetaClip2Model(MetaClip2Config(text_config=TEXT, vision_config=VISION, projection_dim=24))
            processor = CLIPImageProcessorPil(**CROP)
        elif family == "siglip":
            model = SiglipModel(SiglipConfig(text_config=TEXT, vision_config=VISION))
            processor = SiglipImageProcessorPil(size={"height": 32, "width": 32})
        else:
            vision = {**SIZE, "patch_size": 8, "num_patches": 16}
            model = Siglip2Model(Siglip2Config(text_config=TEXT, vision_config=vision))
            processor = Siglip2ImageProcessorPil(patch_size=8, max_num_patches=16)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


@pytest.mark.parametrize("family", FAMILIES)
def test_tower_gives_the_mean_of_the_stock_models_image_tokens(family: str, tiny_bases, make_image) -> None:
    images = [make_image(16 + 8 * number, 24, number) for number in range(4)]
    encoder = load_encoder(tiny_bases[family])
    assert isinstance(encoder, TowerEncoder)
    embedded = encoder.encode(images)
    assert embedded.shape == (4, encoder.dimension)

    model = AutoModelForImageTextToText.from_pretrained(tiny_bases[family]).eval()
    processor = AutoImageProcessor.from_pretrained(tiny_bases[family], backend="pil")
    for image, row in zip(images, embedded, strict=True):
        inputs = processor(images=image, return_tensors="pt")
        with torch.no_grad():
            (tokens,) = model.model.get_image_features(**inputs).pooler_output
        mean = tokens.numpy().mean(0)
        np.testing.assert_allclose(row, mean / np.sqrt((mean**2).sum()), atol=1e-5)


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl"])
def test_tower_loads_from_both_layouts_of_a_base(family: str, tiny_bases, tmp_path: Path, make_image) -> None:
    images = [make_image(24, 32)]
    wanted = load_encoder(tiny_bases[family]).encode(images)
    for layout in ("old", "new"):
        write_base(tiny_bases[family], tmp_path / layout, layout)
        np.testing.assert_array_equal(load_encoder(tmp_path / layout).encode(images), wanted)


@pytest.mark.parametrize(("family", "model_class"), [
    ("clip", CLIPModel), ("metaclip_2", MetaClip2Model), ("siglip", SiglipModel), ("siglip2", Siglip2Model),
])  # fmt: skip
def test_clip_like_models_give_their_image_features(family: str, model_class, tmp_path: Path, make_image) -> None:
    build_clip(tmp_path, family)
    images = [make_image(40 + 8 * number, 48, number) for number in range(3)]
    encoder = load_encoder(tmp_path)
    assert isinstance(encoder, ClipEncoder)
    embedded = encoder.encode(images)
    assert embedded.shape == (3, encoder.dimension)

    model = model_class.from_pretrained(tmp_path).eval()
    inputs = AutoImageProcessor.from_pretrained(tmp_path, backend="pil")(images=images, return_tensors="pt")
    with torch.no_grad():
        features = model.get_image_features(**inputs).pooler_output.numpy()
    np.testing.assert_allclose(embedded, features / np.linalg.norm(features, axis=1, keepdims=True), atol=1e-5)
    assert np.abs(embedded[0] - embedded[1]).max() > 1e-3

    half = load_encoder(tmp_path, "bfloat16").encode(images)
    assert half.dtype == np.float32
    assert ((half * embedded).sum(1) > 0.99).all()


def test_missing_and_wrongly_shaped_weights_are_errors(tmp_path: Path) -> None:
    build_tiny_base(tmp_path / "tower", "qwen2_vl")
    build_clip(tmp_path / "clip", "clip")
    for folder, end in (
        (tmp_path / "tower", "patch_embed.proj.weight"),
        (tmp_path / "clip", "visual_projection.weight"),
    ):
        path = folder / "model.safetensors"
        weights = load_file(path)
        name = next(key for key in weights if key.endswith(end))
        tensor = weights.pop(name)
        save_file(weights, path, metadata={"format": "pt"})
        with pytest.raises(ValueError, match=rf"missing tensors \['{name.removeprefix('model.')}'\]"):
            load_encoder(folder)
        save_file({**weights, name: tensor[1:].clone()}, path, metadata={"format": "pt"})
        with pytest.raises(ValueError, match=rf"wrongly shaped tensors \['{name.removeprefix('model.')} \[\d+"):
            load_encoder(folder)


def test_a_checkpoint_of_another_type_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match=r"checkpoint of type bert: .*qwen2_vl.*siglip2, or G3's \.pth file"):
        load_encoder(tmp_path)
