"""A tiny random CLIP with features as wide as those of ViT-L/14, and releases of GeoCLIP with few points."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from utils.retrieval.geoclip_files import package_folder

PACKAGE = package_folder() / "model"
SIZE = 32  # pixels
TOKENS = {"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2}


def build_tiny_clip(folder: Path, projection_dim: int = 768) -> None:
    """Save a random CLIP with all that the package geoclip loads, its tokenizer, too."""
    tower = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = CLIPConfig(
        vision_config={**tower, "image_size": SIZE, "patch_size": 8, "initializer_range": 0.3},
        text_config={**tower, "vocab_size": len(TOKENS), "bos_token_id": 0, "eos_token_id": 1},
        projection_dim=projection_dim,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = CLIPModel(config)
        torch.nn.init.normal_(model.visual_projection.weight, std=0.3)
    model.save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE}).save_pretrained(
        folder
    )
    CLIPTokenizer(vocab=TOKENS, merges=[]).save_pretrained(folder)


def build_release(folder: Path, points: int) -> None:
    """A folder as GeoCLIP's hub release is, with the package's weights and its first so many points."""
    folder.mkdir()
    tensors = {"logit_scale": torch.load(PACKAGE / "weights" / "logit_scale_weights.pth", weights_only=True)}
    for prefix, name in (("location_encoder.", "location_encoder"), ("image_encoder.mlp.", "image_encoder_mlp")):
        state = torch.load(PACKAGE / "weights" / f"{name}_weights.pth", weights_only=True)
        tensors |= {prefix + key: tensor for key, tensor in state.items()}
    save_file(tensors, folder / "model.safetensors")
    lines = (PACKAGE / "gps_gallery" / "coordinates_100K.csv").read_text().splitlines(keepends=True)
    (folder / "points.csv").write_text("".join(lines[: points + 1]))
    config = {"model_type": "geoclip-geolocation", "format_version": 1, "sigma": [1, 16, 256]}
    config |= {"gallery_file": "points.csv", "backbone": {"repo_id": "openai/clip-vit-large-patch14", "revision": "r1"}}
    (folder / "config.json").write_text(json.dumps(config))
