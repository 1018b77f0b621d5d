"""The tower on tiles, all of one size: pixels to image tokens, what ground a token shows, and how tokens compare."""

import numpy as np
import torch
from transformers import AttentionInterface, Qwen2VLForConditionalGeneration

from earth.lvlm.model import image_processor
from earth.recipe import GRID, MERGE, PATCH_PIXELS, PATCHES, TILE_GRID
from earth.world.imagery import ground
from utils.geography.geodesy import EARTH_RADIUS_KM, unit_vectors

TILE_ATTENTION = "tile_attention"
CHUNK = 64  # pictures the tower takes at a time: more no longer fit the processor's cache


def use_tile_attention(model: Qwen2VLForConditionalGeneration, **others: str) -> None:
    """Give ``model``'s tower ``tile_attention``, and other parts an attention of their own: ``text_config="eager"``."""
    AttentionInterface.register(TILE_ATTENTION, tile_attention)
    model.set_attn_implementation({"vision_config": TILE_ATTENTION, **others})


def tile_attention(module, query, key, value, attention_mask, scaling, **kwargs):
    """Attention within each tile of a batch of tiles, in one product instead of one per picture.

    The stock tower calls attention picture by picture, which makes training on a CPU 1.4 times as slow. Given a single
    sequence length it hands over all of them at once: query, key, value (1, heads, tiles * PATCHES, dim).
    """
    heads, dim = query.shape[1], query.shape[3]
    query, key, value = (
        states.view(heads, -1, PATCHES, dim).transpose(0, 1) for states in (query, key, value)
    )  # (tiles, heads, PATCHES, dim)
    weights = torch.softmax(query @ key.transpose(2, 3) * scaling, dim=-1, dtype=torch.float32)
    mixed = weights.to(value.dtype) @ value
    return mixed.transpose(1, 2).reshape(1, -1, heads, dim), None


def patches(pictures: np.ndarray, mean: list[float], std: list[float]) -> torch.Tensor:
    """What Qwen2-VL's image processor makes of pictures of one size that it does not resize, all at once.

    :param pictures: (n, height, width, 3) uint8.
    :param mean, std: of the three channels, as the processor states them.
    :returns: (n * patches, 3 * 2 * PATCH_PIXELS**2) float32, patches in merge-block order, the frame given twice.
    """
    n, height, width, _ = pictures.shape
    rows, columns = height // PATCH_PIXELS // MERGE, width // PATCH_PIXELS // MERGE
    pixels = torch.from_numpy(np.array(pictures)).float().div_(255)
    pixels = (pixels - torch.tensor(mean)) / torch.tensor(std)
    pixels = pixels.view(n, rows, MERGE, PATCH_PIXELS, columns, MERGE, PATCH_PIXELS, 3)
    pixels = pixels.permute(0, 1, 4, 2, 5, 7, 3, 6)  # (n, rows, columns, merge, merge, 3, patch, patch)
    return pixels.unsqueeze(6).expand(-1, -1, -1, -1, -1, -1, 2, -1, -1).reshape(-1, 6 * PATCH_PIXELS**2)


def encode_tiles(model: Qwen2VLForConditionalGeneration, pictures: np.ndarray) -> torch.Tensor:
    """Image tokens (n, TOKENS, hidden) of tiles (n, 64, 64, 3) uint8, with the tower set to ``use_tile_attention``."""
    processor = image_processor()
    tokens = []
    for start in range(0, len(pictures), CHUNK):
        pixels = patches(pictures[start : start + CHUNK], processor.image_mean, processor.image_std)
        count = len(pixels) // PATCHES
        output = model.model.get_image_features(
            pixels,
            torch.tensor([TILE_GRID] * count),
            cu_seqlens=torch.tensor([0, len(pixels)], dtype=torch.int32),
        )
        tokens.append(torch.stack(list(output.pooler_output)))
    return torch.cat(tokens)


def token_ground(points: np.ndarray, poses: np.ndarray) -> np.ndarray:
    """Unit vectors (n, GRID**2, 3) of the ground in the middle of each image token.

    :param points: (n, 2) degrees, what the pictures are centred on.
    :param poses: (n, 2) heading and scale.
    """
    half = (np.arange(GRID) + 0.5) / GRID - 0.5
    x, y = (axis.reshape(1, -1) for axis in np.meshgrid(half, -half))
    lat, lon, heading, scales = (column[:, None] for column in (*points.T, *poses.T))
    return unit_vectors(*ground(lat, lon, x, y, heading, scales))


def ground_km(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Unit vectors (n, 3) and (m, 3) -> (n, m) km through the Earth, as good as along it at a tile's size."""
    return EARTH_RADIUS_KM * np.sqrt(np.clip(2 - 2 * a @ b.T, 0, None))


def late_interaction(similarity: torch.Tensor) -> torch.Tensor:
    """Cosines (n, tokens, m, tokens) of tokens -> (n, m) of pictures: the mean of both directions' mean of maxima."""
    return (similarity.amax(3).mean(1) + similarity.amax(1).mean(2)) / 2
