"""Pretrain the tiny LVLM of the embedded world from scratch and save it as an ordinary transformers folder.

    python -m earth.lvlm.pretrain_lvlm                          # the shipped recipe (docs/earth.md says what it took)
    python -m earth.lvlm.pretrain_lvlm --resume                 # go on after an interruption

The losses, all on the same photos of a batch, whose image tokens are computed once:

    match   two-view contrastive: a photo's mean image token against those of the gallery tiles in the batch, with soft
            targets exp(-km / 30), both ways
    place   the same token against encoded coordinates (Fourier features of the unit vector), soft targets
            exp(-km / 100), as GeoCLIP aligns pictures with places
    guess   next token: the generation prompt, answered with the photo's coordinates as JSON
    far     next token: the ranker's own question on a photo and a candidate, answered with level and kilometres

Next-token loss alone leaves the language model blind for long: most of it is the noise of last digits. So the state
that the answer starts from has a say of its own, in `guess` on the encoded coordinates (as in `place`), in `far` on the
logarithm of the kilometres.

The learning rate warms up, stays, and falls linearly over the last quarter; resuming with another --steps is fine as
long as the fall has not begun.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import AttentionInterface, PreTrainedTokenizerBase, Qwen2VLForConditionalGeneration

from earth.lvlm import model as lvlm
from earth.lvlm.contrast import PLACE_WEIGHT, LocationEncoder, both_ways, pairwise_km, place_loss, scale
from earth.lvlm.pretrain_data import Batch, PretrainData, patches, validation_photos
from earth.lvlm.schedule import LossLog, Trainer, add_flags, learning_rate, parse
from utils.candidates import Candidate
from utils.geography.geodesy import THRESHOLDS_KM, haversine_km
from utils.model.prompts import GENERATION_PROMPT, ChatFrame, question

TILE_GRID = (1, 8, 8)  # frames, rows and columns of patches
PATCHES = 64
TOKENS = 16
CHUNK = 64  # pictures the tower takes at a time: more no longer fit the processor's cache
MATCH_KM = 30.0
LOSSES = ("match", "place", "guess", "far", "guess state", "far state")  # as they are logged
LEVELS = ("street", "city", "region", "country", "continent", "planet")


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


AttentionInterface.register("tile_attention", tile_attention)


def encode_tiles(model: Qwen2VLForConditionalGeneration, pictures: np.ndarray) -> torch.Tensor:
    """Image tokens (n, TOKENS, hidden) of tiles (n, 64, 64, 3) uint8, with the tower set to ``tile_attention``."""
    processor = lvlm.image_processor()
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


class Heads(nn.Module):
    """What pretraining needs beside the LVLM, and what is thrown away after it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.location = LocationEncoder(width)
        self.to_location = nn.Linear(width, width)  # from the mean image token
        self.answer_to_location = nn.Linear(width, width)  # from the state before an answer
        self.answer_to_log_km = nn.Linear(width, 1)
        self.log_scale = nn.Parameter(torch.tensor([2.66, 2.66]))  # of match and place: 1 / 0.07


def match_loss(heads: Heads, photo: torch.Tensor, tile: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Contrast of photos and tiles, mean image tokens (n, hidden)."""
    similarity = scale(heads.log_scale[0]) * F.normalize(photo, dim=1) @ F.normalize(tile, dim=1).T
    return both_ways(similarity, pairwise_km(batch.photo_points, batch.tile_points), MATCH_KM)


@dataclass(frozen=True)
class Lesson:
    """One text to learn: everything before the answer is given; ``pictures`` are rows of the batch's image tokens."""

    prompt: str
    answer: str
    pictures: list[int]
    km: float = 0.0  # what `far` asks for


def guess_lessons(frame: ChatFrame, points: np.ndarray, rows: np.ndarray) -> list[Lesson]:
    """Where was this photo taken? The coordinates, as JSON, to 0.1 degrees: two pixels."""
    prompt = frame.head + frame.image + GENERATION_PROMPT + frame.tail
    return [
        Lesson(prompt, f'{{"latitude": {lat:.1f},"longitude": {lon:.1f}}}', [row])
        for row, (lat, lon) in zip(rows, points[rows].tolist(), strict=True)
    ]


def far_lessons(frame: ChatFrame, batch: Batch, rows: np.ndarray, rng: np.random.Generator) -> list[Lesson]:
    """How far is this place from a candidate? A third its own tile, a third one of the nearest, a third any tile.

    As among a ranker's candidates, some come without names, and some, the generated ones, without a picture.
    """
    n = len(batch.candidates)
    lessons = []
    for row in rows:
        km = haversine_km(*batch.photo_points[row], *batch.tile_points.T)
        column = (row, np.argsort(km)[rng.integers(1, 9)], rng.integers(n))[rng.integers(3)]
        candidate = batch.candidates[column]
        kind = rng.random()
        if kind < 0.15:
            candidate = Candidate(candidate.latitude, candidate.longitude)
        elif kind < 0.3:
            candidate = Candidate(candidate.latitude, candidate.longitude, image=candidate.image)
        shown = [] if candidate.image is None else [n + column]
        prompt = frame.head + frame.image + question(candidate) + frame.image * len(shown) + frame.tail
        level = LEVELS[np.searchsorted(THRESHOLDS_KM, km[column], side="right")]
        lessons.append(Lesson(prompt, f"{level}, {float(f'{km[column]:.2g}'):.0f} km", [row, *shown], km[column]))
    return lessons


def lesson_loss(
    model: Qwen2VLForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    lessons: list[Lesson],
    image_tokens: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean next-token loss over the answers, and the states they start from (lessons, hidden).

    image_tokens (pictures, TOKENS, hidden) are those of the batch.
    """
    image_token, end = model.config.image_token_id, "<|im_end|>"
    expand = "<|image_pad|>" * TOKENS
    prompts = tokenizer([lesson.prompt.replace("<|image_pad|>", expand) for lesson in lessons]).input_ids
    answers = tokenizer([lesson.answer + end for lesson in lessons]).input_ids
    rows = [torch.tensor(prompt + answer) for prompt, answer in zip(prompts, answers, strict=True)]
    ids = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=tokenizer.pad_token_id)
    lengths = torch.tensor([len(row) for row in rows])
    mask = torch.arange(ids.shape[1]) < lengths[:, None]  # (lessons, length)
    starts = torch.tensor([len(prompt) for prompt in prompts])
    answered = mask & (torch.arange(ids.shape[1]) >= starts[:, None])

    pictures = torch.tensor([row for lesson in lessons for row in lesson.pictures])
    position_ids, _ = model.model.get_rope_index(
        ids,
        mm_token_type_ids=(ids == image_token).int(),
        image_grid_thw=torch.tensor([TILE_GRID] * len(pictures)),
        attention_mask=mask,
    )
    embeddings = model.get_input_embeddings()(ids)
    shown = image_tokens[pictures].to(embeddings.dtype)
    embeddings = embeddings.masked_scatter((ids == image_token)[..., None], shown)
    hidden = model.model.language_model(
        inputs_embeds=embeddings, attention_mask=mask, position_ids=position_ids, use_cache=False
    ).last_hidden_state
    logits = model.lm_head(hidden[:, :-1][answered[:, 1:]])  # only where a token of an answer comes next
    loss = F.cross_entropy(logits.float(), ids[:, 1:][answered[:, 1:]])
    return loss, hidden[torch.arange(len(lessons)), starts - 1].float()


@torch.inference_mode()
def validate(model: Qwen2VLForConditionalGeneration, data: PretrainData, folder: Path) -> str:
    """Accuracy of the nearest gallery tile by cosine of the mean image tokens, on the validation photos."""
    photos, points = validation_photos(folder)

    def embed(pictures: np.ndarray) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return F.normalize(encode_tiles(model, pictures).float().mean(1), dim=1)

    best = (embed(photos) @ embed(data.tiles).T).argmax(1).numpy()
    km = haversine_km(*points.T, *data.tile_points[best].T)
    return "  ".join(f"{threshold} km {np.mean(km < threshold):.1%}" for threshold in THRESHOLDS_KM[1:])


def pretrain(args: argparse.Namespace) -> None:
    torch.manual_seed(args.seed)
    data = PretrainData(args.data, args.run / "photos.npy", args.views, args.seed, args.workers)
    asked = [
        question(Candidate(lat, lon, texts=texts))
        for (lat, lon), texts in zip(data.tile_points, data.texts, strict=True)
    ]
    tokenizer = lvlm.train_tokenizer([*asked, *_phrases() * 2000])
    frame = ChatFrame.of(tokenizer)
    model = lvlm.build_model(tokenizer)
    model.set_attn_implementation({"text_config": "eager", "vision_config": "tile_attention"})
    heads = Heads(model.config.text_config.hidden_size)
    trainer = Trainer(args.run, model=model, heads=heads)
    first = trainer.load() if args.resume else 0
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, steps {first} to {args.steps}")

    log = LossLog(LOSSES, args.log_every, "pairs", args.batch_size)
    for step in range(first, args.steps):
        rng = np.random.default_rng((args.seed, step))
        batch = data.batch(args.batch_size, rng)
        with torch.autocast("cpu", torch.bfloat16):
            tokens = encode_tiles(model, np.concatenate([batch.photos, batch.tiles]))
            rows = rng.permutation(args.batch_size)[: args.lessons]
            is_guess = step % 2 == 0
            lessons = (
                guess_lessons(frame, batch.photo_points, rows) if is_guess else far_lessons(frame, batch, rows, rng)
            )
            lesson, states = lesson_loss(model, tokenizer, lessons, tokens)
        photo, tile = tokens.float().mean(1).split(args.batch_size)
        extra = data.tile_points[rng.integers(len(data.tile_points), size=1024)]
        match = match_loss(heads, photo, tile, batch)
        pictured = np.concatenate([batch.photo_points, batch.tile_points])
        place = place_loss(
            heads.location, heads.log_scale[1], heads.to_location(torch.cat([photo, tile])), pictured, extra
        )
        if is_guess:
            located = heads.answer_to_location(states)
            state = PLACE_WEIGHT * place_loss(
                heads.location, heads.log_scale[1], located, batch.photo_points[rows], extra
            )
        else:
            log_km = torch.tensor([lesson.km for lesson in lessons]).float().log1p()
            state = F.smooth_l1_loss(heads.answer_to_log_km(states).squeeze(1), log_km)
        (match + PLACE_WEIGHT * place + lesson + state).backward()
        trainer.step(learning_rate(step, args.steps, args.learning_rate))

        is_far = not is_guess  # of two steps one is of a kind, so twice the sum is its mean
        of_kind = (2 * lesson * is_guess, 2 * lesson * is_far, 2 * state * is_guess, 2 * state * is_far)
        log.add(step + 1, torch.stack([match, place, *of_kind]))
        if (step + 1) % args.save_every == 0 or step + 1 == args.steps:
            trainer.save(step + 1)
            lvlm.save(model, tokenizer, args.output_dir)
        if (step + 1) % args.validate_every == 0 or step + 1 == args.steps:
            print(
                f"step {step + 1}  nearest tile of validation photos: {validate(model, data, args.data)}",
                flush=True,
            )


def _phrases() -> list[str]:
    """The fixed words of the prompts, so that the tokenizer learns them as words."""
    return [
        "system You are a helpful assistant. user assistant",
        GENERATION_PROMPT,
        '{"latitude": -1.5,"longitude": -1.5}',
        "Negative examples: latitude: 1.5, longitude: -1.5; latitude: -1.5",
        *(f"{level}, 120 km" for level in LEVELS),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_flags(parser, "runs/earth-base", steps=4400, peak=1.5e-3, save_every=250, seed=0)
    add = parser.add_argument
    add("--batch_size", type=int, default=64, help="photo-tile pairs a step (%(default)s)")
    add("--lessons", type=int, default=64, help="texts a step (%(default)s)")
    add("--validate_every", type=int, default=1000, help="steps (%(default)s)")
    args = parse(parser)
    if args.batch_size < 9 or not 1 <= args.lessons <= args.batch_size:
        parser.error("--batch_size must be at least 9, and --lessons between 1 and that")
    pretrain(args)


if __name__ == "__main__":
    main()
