"""Names of an adapter's tensors: ours, and those that released adapters give the same tensors.

A released adapter was trained on a ``RewardModel``, a subclass of the stock model with a ``value_head``. Where
the stock model keeps its language model depends on the version of transformers, and so does the name of, say,
the first matrix of layer 0's q projection:

    older    base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight
    newer    base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_A.weight
    ours     base_model.model.backbone.language_model.layers.0.self_attn.q_proj.lora_A.weight

The head is ``base_model.model.value_head.weight`` in both, ours ``base_model.model.score.weight``. A state dict
saved by other means than peft's ``save_pretrained`` lacks the prefix ``base_model.model.``, or still has the name
of the adapter in its keys: ``...lora_A.default.weight``, ``...value_head.modules_to_save.default.weight``.
"""

import re
from collections.abc import Mapping

from peft import LoraConfig
from torch import Tensor

PREFIX = "base_model.model."  # of every tensor, set by peft
LAYERS = "backbone.language_model.layers."
HEAD = "score"
RELEASED_HEAD = "value_head"
# Queries, keys and values: of linear attention in one matrix.
TARGETS = r"backbone\.language_model\.layers\.\d+\.(self_attn\.(q_proj|k_proj|v_proj)|linear_attn\.in_proj_qkv)"


def is_released(config: LoraConfig) -> bool:
    """Whether the configuration is that of a released adapter."""
    return RELEASED_HEAD in (config.modules_to_save or ())


def our_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a released adapter under our names; one that is not in the format keeps its own.

    Raises ``ValueError``, naming the tensors, where two of them get the same name.
    """
    ours, origin = {}, {}
    for name, tensor in tensors.items():
        module = re.sub(r"\.(modules_to_save\.)?default(?=\.|$)", "", name.removeprefix(PREFIX))
        own = PREFIX + _our_module(module)
        if own in ours:
            raise ValueError(f"{origin[own]} and {name} are the same tensor")
        ours[own], origin[own] = tensor, name
    return ours


def our_config(config: LoraConfig) -> LoraConfig:
    """The configuration of a released adapter, made to fit a ``GeoRanker``; changed in place.

    ``target_modules`` are bare names (q_proj, ...) there; ours are the language model's only, whatever a vision
    tower calls its layers. Ranks and alphas of single modules keep their values. All else stays as it is.
    """
    config.target_modules = TARGETS
    config.modules_to_save = [HEAD]
    config.rank_pattern = {_our_module(name): rank for name, rank in config.rank_pattern.items()}
    config.alpha_pattern = {_our_module(name): alpha for name, alpha in config.alpha_pattern.items()}
    return config


def _our_module(name: str) -> str:
    name = re.sub(r"^model\.(language_model\.)?layers\.", LAYERS, name)
    return re.sub(rf"^{RELEASED_HEAD}(?=\.)", HEAD, name)
