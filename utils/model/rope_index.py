"""The position rule of a stock Qwen-VL, apart from its weights, and whether its configuration says all of it."""

import os
from pathlib import Path

from torch import nn
from transformers import PreTrainedModel

from utils.model.checkpoint import CONFIG
from utils.model.packing import RopeIndex


def rope_index(backbone: PreTrainedModel) -> RopeIndex:
    """``backbone.get_rope_index`` without the weights, so that data workers can be sent it.

    The method reads nothing of its model but the configuration.
    """
    shell = type(backbone).__new__(type(backbone))
    nn.Module.__init__(shell)
    shell.config = backbone.config
    return shell.get_rope_index


def check_sections(base: str | os.PathLike, backbone: PreTrainedModel) -> None:
    """Raise ``ValueError``, naming the file, unless the configuration says how positions share the rotary frequencies.

    ``mrope_section`` has three numbers, of frame, row and column, as many as there are frequencies in all; without it
    transformers loads the checkpoint and fails at the first photo.
    """
    sections = (backbone.language_model.config.rope_parameters or {}).get("mrope_section")
    frequencies = backbone.language_model.rotary_emb.inv_freq.numel()
    fits = isinstance(sections, list) and [type(part) for part in sections] == [int] * 3
    if not fits or min(sections) < 0 or sum(sections) != frequencies:
        raise ValueError(
            f"{Path(base, CONFIG)}: rope_parameters: mrope_section cannot be {sections}: "
            f"it is three numbers that make {frequencies}"
        )
