"""The first stage of pretraining: the tiny LVLM from scratch. Its command, ``pretrain_lvlm``, lists the losses."""

import argparse
import logging
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedTokenizerBase, Qwen2VLForConditionalGeneration

from earth.lvlm import model as lvlm
from earth.lvlm.contrast import (
    MATCH_KM,
    PLACE_WEIGHT,
    LocationEncoder,
    both_ways,
    pairwise_km,
    place_loss,
    scale,
)
from earth.lvlm.data import Batch, PretrainData, validation_photos
from earth.lvlm.lessons import LEVELS, far_lessons, guess_lessons, lesson_loss
from earth.lvlm.mixed_precision import mixed_precision
from earth.lvlm.tiles import encode_tiles, use_tile_attention
from earth.lvlm.trainer import LossLog, Trainer, learning_rate
from utils.candidates import Candidate
from utils.geography.geodesy import THRESHOLDS_KM, haversine_km
from utils.model.prompts import GENERATION_PROMPT, ChatFrame, question

logger = logging.getLogger(__name__)

LOSSES = ("match", "place", "guess", "far", "guess state", "far state")  # as they are logged


class SightHeads(nn.Module):
    """What pretraining needs beside the LVLM, and what is thrown away after it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.location = LocationEncoder(width)
        self.to_location = nn.Linear(width, width)  # from the mean image token
        self.answer_to_location = nn.Linear(width, width)  # from the state before an answer
        self.answer_to_log_km = nn.Linear(width, 1)
        self.log_scale = nn.Parameter(torch.tensor([2.66, 2.66]))  # of match and place: 1 / 0.07


def match_loss(heads: SightHeads, photo: torch.Tensor, tile: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Contrast of photos and tiles, mean image tokens (n, hidden)."""
    similarity = scale(heads.log_scale[0]) * F.normalize(photo, dim=1) @ F.normalize(tile, dim=1).T
    return both_ways(similarity, pairwise_km(batch.photo_points, batch.tile_points), MATCH_KM)


def sight_losses(
    model: Qwen2VLForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    heads: SightHeads,
    batch: Batch,
    tile_points: np.ndarray,
    lessons: int,
    is_guess: bool,
    rng: np.random.Generator,
) -> torch.Tensor:
    """match, place, lesson and state loss (4,) of a batch, the last with its weight.

    :param tile_points: (n, 2) degrees of which more wrong places are drawn.
    :param lessons: photos that are asked about, for their place where ``is_guess``, else for a distance.
    """
    pairs = len(batch.photos)
    with mixed_precision():
        tokens = encode_tiles(model, np.concatenate([batch.photos, batch.tiles]))
        rows, frame = rng.permutation(pairs)[:lessons], ChatFrame.of(tokenizer)
        asked = guess_lessons(frame, batch.photo_points, rows) if is_guess else far_lessons(frame, batch, rows, rng)
        lesson, states = lesson_loss(model, tokenizer, asked, tokens)
    photo, tile = tokens.float().mean(1).split(pairs)
    extra = tile_points[rng.integers(len(tile_points), size=1024)]
    match = match_loss(heads, photo, tile, batch)
    pictured = np.concatenate([batch.photo_points, batch.tile_points])
    located = heads.to_location(torch.cat([photo, tile]))
    place = place_loss(heads.location, heads.log_scale[1], located, pictured, extra)
    if is_guess:
        located, points = heads.answer_to_location(states), batch.photo_points[rows]
        state = PLACE_WEIGHT * place_loss(heads.location, heads.log_scale[1], located, points, extra)
    else:
        log_km = torch.tensor([lesson.km for lesson in asked]).float().log1p()
        state = F.smooth_l1_loss(heads.answer_to_log_km(states).squeeze(1), log_km)
    return torch.stack([match, place, lesson, state])


def by_kind(losses: torch.Tensor, is_guess: bool) -> torch.Tensor:
    """``sight_losses`` (4,) as LOSSES (6,) names them: of two steps one is of a kind, so twice the sum is its mean."""
    match, place, lesson, state = losses
    is_far = not is_guess
    return torch.stack(
        [match, place, 2 * lesson * is_guess, 2 * lesson * is_far, 2 * state * is_guess, 2 * state * is_far]
    )


@torch.inference_mode()
def validate(model: Qwen2VLForConditionalGeneration, data: PretrainData, folder: Path) -> str:
    """Accuracy of the nearest gallery tile by cosine of the mean image tokens, on the validation photos."""
    photos, points = validation_photos(folder)

    def embed(pictures: np.ndarray) -> torch.Tensor:
        with mixed_precision():
            return F.normalize(encode_tiles(model, pictures).float().mean(1), dim=1)

    best = (embed(photos) @ embed(data.tiles).T).argmax(1).numpy()
    km = haversine_km(*points.T, *data.tile_points[best].T)
    return "  ".join(f"{threshold} km {np.mean(km < threshold):.1%}" for threshold in THRESHOLDS_KM[1:])


def pretrain(args: argparse.Namespace) -> None:
    """Train a new model, or go on with it, and save it into ``args.output_dir``; the losses are said on the way."""
    torch.manual_seed(args.seed)
    data = PretrainData(args.data, args.run / "photos.npy", args.views, args.seed, args.workers)
    tokenizer = prompt_tokenizer(data)
    model = lvlm.build_model(tokenizer)
    use_tile_attention(model, text_config="eager")
    heads = SightHeads(model.config.text_config.hidden_size)
    trainer = Trainer(args.run, model=model, heads=heads)
    first = trainer.load() if args.resume else 0
    parameters = sum(own.numel() for own in model.parameters())
    logger.info("%.2f M parameters, steps %d to %d", parameters / 1e6, first, args.steps)

    weights = torch.tensor([1.0, PLACE_WEIGHT, 1.0, 1.0])
    log = LossLog(LOSSES, args.log_every, "pairs", args.batch_size)
    for step in range(first, args.steps):
        rng = np.random.default_rng((args.seed, step))
        is_guess = step % 2 == 0
        batch = data.batch(args.batch_size, rng)
        losses = sight_losses(model, tokenizer, heads, batch, data.tile_points, args.lessons, is_guess, rng)
        (losses * weights).sum().backward()
        trainer.step(learning_rate(step, args.steps, args.learning_rate))

        done, last = step + 1, step + 1 == args.steps
        log.add(done, by_kind(losses.detach(), is_guess))
        if done % args.save_every == 0 or last:
            trainer.save(done)
            lvlm.save(model, tokenizer, args.output_dir)
        if done % args.validate_every == 0 or last:
            print(f"step {done}  nearest tile of validation photos: {validate(model, data, args.data)}", flush=True)


def prompt_tokenizer(data: PretrainData) -> PreTrainedTokenizerBase:
    """A tokenizer that knows the words of the prompts and of the gallery's places."""
    asked = [
        question(Candidate(lat, lon, texts=texts))
        for (lat, lon), texts in zip(data.tile_points, data.texts, strict=True)
    ]
    return lvlm.train_tokenizer([*asked, *_phrases() * 2000])


def _phrases() -> list[str]:
    """The fixed words of the prompts, so that the tokenizer learns them as words."""
    return [
        "system You are a helpful assistant. user assistant",
        GENERATION_PROMPT,
        '{"latitude": -1.5,"longitude": -1.5}',
        "Negative examples: latitude: 1.5, longitude: -1.5; latitude: -1.5",
        *(f"{level}, 120 km" for level in LEVELS),
    ]
