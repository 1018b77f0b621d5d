from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from transformers import CLIPConfig, CLIPModel

from utils.model.fingerprints import weights_hash
from utils.retrieval.embedding import load_encoder
from utils.retrieval.g3 import G3Encoder

HIDDEN, WIDTH, PATCH, SIZE, LAYERS = 128, 24, 8, 32, 2


def released_weights() -> dict[str, Tensor]:
    """A miniature of ``g3.pth``: CLIP's towers, three projections, and the parts that retrieval does not need."""
    generator = torch.Generator().manual_seed(0)
    vision = {"hidden_size": HIDDEN, "intermediate_size": 160, "num_hidden_layers": LAYERS, "num_attention_heads": 2}
    text = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(
        vision_config={**vision, "image_size": SIZE, "patch_size": PATCH},
        text_config={**text, "vocab_size": 50},
        projection_dim=WIDTH,
    )
    clip = {
        name: torch.randn(tensor.shape, generator=generator) / max(tensor.numel() / len(tensor), 1) ** 0.5
        for name, tensor in CLIPModel(config).state_dict().items()
        if tensor.ndim
    }
    weights = {name.replace("visual_projection", "vision_projection"): tensor for name, tensor in clip.items()}
    weights["vision_model.embeddings.position_ids"] = torch.arange(17)[None]
    for part in ("vision_projection_else_1", "vision_projection_else_2", "text_projection_else"):
        for layer in (0, 2):
            weights[f"{part}.{layer}.weight"] = torch.randn(WIDTH, WIDTH, generator=generator) / WIDTH**0.5
            weights[f"{part}.{layer}.bias"] = torch.randn(WIDTH, generator=generator)
    weights["logit_scale1"] = torch.tensor(3.99)
    weights["location_encoder.LocEnc0.head.0.weight"] = torch.randn(4, 4, generator=generator)
    return weights


@pytest.fixture
def g3(tmp_path: Path) -> Path:
    torch.save(released_weights(), tmp_path / "g3.pth")
    return tmp_path / "g3.pth"


def clip_pixels(image: Image.Image) -> Tensor:
    """CLIP's preprocessing by hand: short side to SIZE, bicubic; the middle square; its mean and deviation."""
    scale = SIZE / min(image.size)
    image = image.resize([int(side * scale) for side in image.size], Image.Resampling.BICUBIC)
    left, top = (image.width - SIZE) // 2, (image.height - SIZE) // 2
    pixels = torch.tensor(np.asarray(image.crop((left, top, left + SIZE, top + SIZE))) / 255.0, dtype=torch.float32)
    mean, deviation = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    return ((pixels - torch.tensor(mean)) / torch.tensor(deviation)).permute(2, 0, 1)


def plain_embedding(w: dict[str, Tensor], pixels: Tensor) -> Tensor:
    """G3's embedding of one photo (3, SIZE, SIZE), from the state dict and nothing else."""

    def linear(x: Tensor, name: str) -> Tensor:
        return functional.linear(x, w[f"{name}.weight"], w.get(f"{name}.bias"))

    def norm(x: Tensor, name: str) -> Tensor:
        return functional.layer_norm(x, (HIDDEN,), w[f"{name}.weight"], w[f"{name}.bias"], 1e-5)

    patches = functional.conv2d(pixels[None], w["vision_model.embeddings.patch_embedding.weight"], stride=PATCH)
    tokens = torch.cat([w["vision_model.embeddings.class_embedding"][None], patches[0].flatten(1).T])
    x = norm(tokens + w["vision_model.embeddings.position_embedding.weight"], "vision_model.pre_layrnorm")
    for layer in range(LAYERS):
        at = f"vision_model.encoder.layers.{layer}."
        y = norm(x, at + "layer_norm1")
        q, k, v = (linear(y, f"{at}self_attn.{name}_proj").unflatten(1, (2, 64)).transpose(0, 1) for name in "qkv")
        mixed = (q @ k.transpose(1, 2) / 8).softmax(-1) @ v
        x = x + linear(mixed.transpose(0, 1).flatten(1), at + "self_attn.out_proj")
        y = linear(norm(x, at + "layer_norm2"), at + "mlp.fc1")
        x = x + linear(y * torch.sigmoid(1.702 * y), at + "mlp.fc2")
    projected = linear(norm(x[0], "vision_model.post_layernorm"), "vision_projection")
    views = [projected]
    for part in ("vision_projection_else_1", "vision_projection_else_2"):
        views.append(linear(linear(projected, f"{part}.0").relu(), f"{part}.2"))
    return torch.cat([view / view.square().sum().sqrt() for view in views])


def test_embedding_is_the_plain_computation(g3: Path, make_image) -> None:
    images = [make_image(40 + 8 * number, 48, number) for number in range(3)]
    encoder = load_encoder(g3)
    assert isinstance(encoder, G3Encoder)
    assert encoder.dimension == 3 * WIDTH
    weights = released_weights()
    plain = np.stack([plain_embedding(weights, clip_pixels(image)).numpy() for image in images])
    np.testing.assert_allclose(encoder.encode(images), plain / np.sqrt(3), atol=1e-5)

    half = load_encoder(g3, "bfloat16").encode(images)
    assert half.dtype == np.float32
    assert ((half * plain / np.sqrt(3)).sum(1) > 0.99).all()


def test_what_does_not_fit_is_listed(tmp_path: Path) -> None:
    weights = released_weights()
    del weights["vision_projection_else_2.2.bias"]
    weights["vision_projection_else_1.0.weight"] = torch.zeros(WIDTH, 7)
    weights["vision_model.extra"] = torch.zeros(1)
    torch.save(weights, tmp_path / "wrong.pth")
    with pytest.raises(ValueError, match="does not fit") as error:
        load_encoder(tmp_path / "wrong.pth")
    assert "missing tensors ['vision_projection_else_2.2.bias']" in str(error.value)
    assert "unexpected tensors ['vision_model.extra']" in str(error.value)
    assert f"vision_projection_else_1.0.weight [{WIDTH}, 7] instead of [{WIDTH}, {WIDTH}]" in str(error.value)

    torch.save({"text_model.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other\.pth lacks the tensor vision_model\.embeddings"):
        load_encoder(tmp_path / "other.pth")


def test_a_file_that_is_damaged_or_would_run_code_is_refused(g3: Path, tmp_path: Path) -> None:
    torch.save({"vision_projection.weight": Path("anything")}, tmp_path / "code.pth")
    torch.save(torch.zeros(3), tmp_path / "tensor.pth")
    (tmp_path / "short.pth").write_bytes(g3.read_bytes()[:-1000])
    (tmp_path / "empty.pth").touch()
    for name in ("code.pth", "tensor.pth", "short.pth", "empty.pth"):
        with pytest.raises(ValueError, match=f"{name} is not a file of tensors"):
            load_encoder(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        (
            "vision_projection.weight",
            torch.full((WIDTH, HIDDEN), torch.nan),
            "vision_projection.weight has values that",
        ),
        (
            "vision_projection.weight",
            torch.zeros(WIDTH, HIDDEN, dtype=torch.int64),
            "vision_projection.weight is no tensor",
        ),
        ("vision_projection.weight", torch.tensor(1.0), "does not fit G3's image encoder"),
        ("vision_projection.weight", [1.0], "vision_projection.weight is no tensor"),
        ("vision_model.embeddings.patch_embedding.weight", torch.zeros(3), "does not fit G3's image encoder"),
        ("vision_model.embeddings.patch_embedding.weight", torch.zeros(0, 3, 8, 8), "does not fit G3's image encoder"),
    ],
)
def test_tensors_of_another_kind_are_named(tmp_path: Path, name: str, tensor: Tensor, message: str) -> None:
    torch.save(released_weights() | {name: tensor, 7: torch.zeros(1)}, tmp_path / "g3.pth")
    with pytest.raises(ValueError, match=rf"g3\.pth.*{message}"):
        load_encoder(tmp_path / "g3.pth")


def test_fingerprint_is_of_the_file(g3: Path, tmp_path: Path) -> None:
    before = weights_hash(g3)
    weights = released_weights()
    weights["vision_projection.weight"][0, 0] += 1
    torch.save(weights, g3)
    assert weights_hash(g3) != before
