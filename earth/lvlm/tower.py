"""The second stage of pretraining: the tower alone. ``pretrain_tower`` is its command, and lists the losses."""

import argparse
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoTokenizer, Qwen2VLForConditionalGeneration

from earth.lvlm import model as lvlm
from earth.lvlm.contrast import (
    MATCH_KM,
    PLACE_WEIGHT,
    LocationEncoder,
    both_ways,
    pairwise_km,
    place_loss,
    scale,
    soft_contrastive,
)
from earth.lvlm.data import Batch, PretrainData, validation_photos
from earth.lvlm.mixed_precision import mixed_precision
from earth.lvlm.tiles import encode_tiles, ground_km, late_interaction, token_ground, use_tile_attention
from earth.lvlm.trainer import LossLog, Trainer, learning_rate
from earth.recipe import COMPONENTS, GRID, TOPN
from utils.evaluation.metrics import accuracy
from utils.geography.geodesy import haversine_km
from utils.retrieval.exact_index import ExactIndex

logger = logging.getLogger(__name__)

PATCH_KM = 30.0
APART_KM = 60.0  # a token further than this from all tokens of the other side shows ground that they do not
LOSSES = ("match", "place", "patch", "overlap")


class TowerHeads(nn.Module):
    """What this stage needs beside the tower, and what is thrown away after it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.location = LocationEncoder(width)
        self.to_location = nn.Linear(width, width)
        self.log_scale = nn.Parameter(torch.tensor([2.66, 2.66, 2.66, 2.66]))  # of LOSSES: 1 / 0.07


def patch_loss(similarity: torch.Tensor, km: np.ndarray) -> torch.Tensor:
    """Contrast of tokens with tokens, (tokens, tokens) each, over the rows whose ground the other side shows."""
    seen = km.min(1) < APART_KM
    return soft_contrastive(similarity[torch.from_numpy(seen)], km[seen], PATCH_KM)


def tower_losses(heads: TowerHeads, tokens: torch.Tensor, batch: Batch, extra_points: np.ndarray) -> torch.Tensor:
    """The four LOSSES (4,) of image tokens (photos then tiles, tokens, hidden); extra_points: more wrong places."""
    n = len(batch.photos)
    photo, tile = tokens[:n], tokens[n:]
    scales = scale(heads.log_scale)
    km = pairwise_km(batch.photo_points, batch.tile_points)
    means = F.normalize(tokens.mean(1), dim=1)
    match = scales[0] * means[:n] @ means[n:].T

    places = np.concatenate([batch.photo_points, batch.tile_points])
    place = place_loss(heads.location, heads.log_scale[1], heads.to_location(tokens.mean(1)), places, extra_points)

    photo, tile = (F.normalize(side, dim=2).flatten(0, 1) for side in (photo, tile))
    similarity = photo @ tile.T  # (photos * tokens, tiles * tokens)
    north_up = np.broadcast_to([0.0, 1.0], (n, 2))
    tokens_km = ground_km(
        token_ground(batch.photo_points, batch.photo_poses).reshape(-1, 3),
        token_ground(batch.tile_points, north_up).reshape(-1, 3),
    )
    patch = (patch_loss(scales[2] * similarity, tokens_km) + patch_loss(scales[2] * similarity.T, tokens_km.T)) / 2
    overlap = scales[3] * late_interaction(similarity.view(n, GRID**2, n, GRID**2))
    return torch.stack([both_ways(match, km, MATCH_KM), place, patch, both_ways(overlap, km, MATCH_KM)])


@dataclass(frozen=True)
class Comparison:
    """What the tower makes of the validation photos and the first TOPN tiles of the compressed index, best first.

    km, cosine (of the mean image tokens) and late (interaction): (photos, TOPN); nearest_km (photos,): to the tile of
    the whole gallery with the highest cosine.
    """

    km: np.ndarray
    cosine: np.ndarray
    late: np.ndarray
    nearest_km: np.ndarray


@torch.inference_mode()
def compare(
    model: Qwen2VLForConditionalGeneration, tiles: np.ndarray, tile_points: np.ndarray, folder: Path
) -> Comparison:
    """Look at the validation photos in ``folder`` and the gallery's tiles (n, 64, 64, 3), (n, 2) degrees."""
    pictures, points = validation_photos(folder)
    with mixed_precision():
        photo_tokens, tile_tokens = (encode_tiles(model, side).float() for side in (pictures, tiles))
    photo_means, tile_means = (F.normalize(side.mean(1), dim=1) for side in (photo_tokens, tile_tokens))
    found, _ = ExactIndex.build(tile_means.numpy(), COMPONENTS).search(photo_means.numpy(), TOPN)
    cosine = photo_means @ tile_means.T  # (photos, tiles)
    photo_tokens, tile_tokens = F.normalize(photo_tokens, dim=2), F.normalize(tile_tokens, dim=2)
    late = [
        late_interaction(torch.einsum("id,kjd->ikj", photo, tile_tokens[row])[None])[0]
        for photo, row in zip(photo_tokens, torch.from_numpy(found), strict=True)
    ]
    return Comparison(
        km=haversine_km(points[:, None, 0], points[:, None, 1], *tile_points[found].transpose(2, 0, 1)),
        cosine=cosine.gather(1, torch.from_numpy(found)).numpy(),
        late=torch.stack(late).numpy(),
        nearest_km=haversine_km(*points.T, *tile_points[cosine.argmax(1).numpy()].T),
    )


def validate(model: Qwen2VLForConditionalGeneration, data: PretrainData, folder: Path) -> str:
    """Accuracy on the validation photos, in % within 25 / 200 km.

    Of the nearest gallery tile by cosine of the mean image tokens; and among the first TOPN tiles of the compressed
    index, of the first, the best by that cosine, the best by late interaction, and the nearest to the truth.
    """
    seen = compare(model, data.tiles, data.tile_points, folder)
    picks = {
        "first": np.broadcast_to(-np.arange(TOPN), seen.km.shape),
        "cosine": seen.cosine,
        "overlap": seen.late,
        "oracle": -seen.km,
    }
    chosen = {name: np.take_along_axis(seen.km, scores.argmax(1, keepdims=True), 1) for name, scores in picks.items()}
    within = {name: accuracy(km.ravel(), (25, 200)) for name, km in {"nearest": seen.nearest_km, **chosen}.items()}
    return "  ".join(f"{name} {near:.1f} / {far:.1f}" for name, (near, far) in within.items())


def train(args: argparse.Namespace) -> None:
    """Train the tower of ``args.model``, or go on with it, and save the whole model into ``args.output_dir``."""
    torch.manual_seed(args.seed)
    data = PretrainData(args.data, args.photos, args.views, args.photo_seed, args.workers)
    model = Qwen2VLForConditionalGeneration.from_pretrained(args.model, dtype=torch.float32)
    use_tile_attention(model)
    model.requires_grad_(False)
    model.model.visual.requires_grad_(True)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    heads = TowerHeads(model.config.text_config.hidden_size)
    trainer = Trainer(args.run, model=model, heads=heads)
    first = trainer.load() if args.resume else 0
    logger.info("steps %d to %d", first, args.steps)

    weights = torch.tensor([1.0, PLACE_WEIGHT, 1.0, 1.0])
    log = LossLog(LOSSES, args.log_every, "pairs", args.batch_size)
    for step in range(first, args.steps):
        rng = np.random.default_rng((args.seed, step))
        batch = data.batch(args.batch_size, rng)
        with mixed_precision():
            tokens = encode_tiles(model, np.concatenate([batch.photos, batch.tiles])).float()
        extra = data.tile_points[rng.integers(len(data.tile_points), size=1024)]
        losses = tower_losses(heads, tokens, batch, extra)
        (losses * weights).sum().backward()
        trainer.step(learning_rate(step, args.steps, args.learning_rate))

        done = step + 1
        log.add(done, losses)
        if done % args.save_every == 0 or done == args.steps:
            trainer.save(done)
            lvlm.save(model, tokenizer, args.output_dir)
        if done % args.validate_every == 0 or done == args.steps:
            print(f"step {done}  validation: {validate(model, data, args.data)}", flush=True)
