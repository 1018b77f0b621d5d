"""What the base model of a ranker may be, asked before its weights are loaded."""

import os

from transformers import AutoConfig
from transformers.integrations import is_deepspeed_zero3_enabled

from utils.model.checkpoint import CONFIG, naming_part
from utils.model.recurrence import is_recurrent


def check_base(base: str | os.PathLike) -> None:
    """Raise ``ValueError`` for a mixture of experts, and under ZeRO-3 for a model with recurrent layers.

    The last layer is computed for single tokens, which experts do not take. Under ZeRO-3 all processes must call the
    model as often as the others; recurrent layers take a call for each length of prefix.
    """
    with naming_part(base, CONFIG):
        config = AutoConfig.from_pretrained(base)
    if "num_experts_per_tok" in config.get_text_config().to_dict():
        raise ValueError(f"{base} is a mixture of experts ({config.model_type}): take a dense model as base")
    if is_deepspeed_zero3_enabled() and is_recurrent(config):
        raise ValueError(f"{base} has recurrent layers, which ZeRO-3 cannot train: take deepspeed_config/zero2.json")
