"""Questions on pictures whose answers the language model learns word by word: where, and how far."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedTokenizerBase, Qwen2VLForConditionalGeneration

from earth.lvlm.data import Batch
from earth.recipe import TILE_GRID, TOKENS
from utils.candidates import Candidate
from utils.geography.geodesy import THRESHOLDS_KM, haversine_km
from utils.model.prompts import GENERATION_PROMPT, ChatFrame, question

LEVELS = ("street", "city", "region", "country", "continent", "planet")


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
