"""The model that is trained: a ranker under a fresh LoRA."""

import os
from typing import Any

import torch
from peft import PeftModel
from transformers import set_seed

from utils.geo_ranker import GeoRanker
from utils.model.adapter import add_lora


def load_model(
    base: str | os.PathLike,
    *,
    seed: int,
    lora_r: int,
    lora_dropout: float,
    gradient_checkpointing: bool,
    dtype: str,
    **options: Any,
) -> tuple[GeoRanker, PeftModel]:
    """The base model as a ranker, and the same under the LoRA that is to be trained.

    Args:
        base: hub name or folder of the base model.
        seed: of all global random generators; the LoRA and the score head start from it.
        lora_r, lora_dropout: those of ``add_lora``.
        gradient_checkpointing: compute activations again in the backward pass: less memory, more time.
        dtype: of the frozen weights, "float32" or "bfloat16".
        options: further ones of ``GeoRanker.from_pretrained``, whose errors are those of this function.
    """
    set_seed(seed)
    ranker = GeoRanker.from_pretrained(base, dtype=getattr(torch, dtype), **options)
    model = add_lora(ranker, r=lora_r, dropout=lora_dropout)
    if gradient_checkpointing:
        ranker.enable_gradient_checkpointing()
    return ranker, model
