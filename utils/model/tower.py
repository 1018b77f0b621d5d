"""The vision tower of a stock Qwen-VL: photos in; out come the features that its language model takes."""

import hashlib
import json
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from utils.model.batch import EncodedImage
from utils.model.packing import Packer


def image_features(backbone: PreTrainedModel, pixel_values: Tensor, image_grid_thw: Tensor) -> Tensor:
    """Patches -> (1 + deepstack layers, tokens, hidden); a frozen tower runs without a gradient."""
    trained = any(parameter.requires_grad for parameter in backbone.visual.parameters())
    with torch.set_grad_enabled(torch.is_grad_enabled() and trained):
        output = backbone.get_image_features(pixel_values, image_grid_thw)
    levels = [output.pooler_output, *output.get("deepstack_features", ())]
    # transformers 5.17 leaves the deepstack levels whole, later versions cut every level by photo.
    return torch.stack([level if isinstance(level, Tensor) else torch.cat(level) for level in levels])


@torch.no_grad()
def with_features(backbone: PreTrainedModel, packer: Packer, images: Sequence[EncodedImage]) -> list[EncodedImage]:
    """Photos with the tower's features in place of pixels, for a tower that stays frozen."""
    pixel_values = torch.cat([image.pixel_values for image in images]).to(backbone.device)
    grids = torch.stack([image.grid_thw for image in images]).to(backbone.device)
    tokens = [packer.image_tokens(image) for image in images]
    features = image_features(backbone, pixel_values, grids).split(tokens, dim=1)
    return [
        EncodedImage(image.grid_thw, features=own.clone())  # a view would keep all photos' features alive
        for image, own in zip(images, features, strict=True)
    ]


def tower_fingerprint(backbone: PreTrainedModel, packer: Packer) -> str:
    """SHA-256 of all that features depend on: the tower's weights and precision, and how photos are prepared."""
    tower = backbone.visual
    settings = [tower.config.to_dict(), packer.image_processor.to_dict(), str(tower.dtype)]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for name, weight in sorted(tower.state_dict().items()):
        digest.update(name.encode())
        digest.update(weight.cpu().contiguous().view(torch.uint8).numpy())
    return digest.hexdigest()
