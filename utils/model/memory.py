"""How much memory a model takes, worked out from shapes: its weights, and what it holds while it ranks a batch.

Nothing is loaded for it: models stand on torch's device "meta". ``python -m benchmarks.memory`` prints a table, and
docs/memory.md says how near the figures come to what is measured.
"""

import math
import os
from collections.abc import Callable, Mapping

import torch
from torch import LongTensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText, PreTrainedConfig, PreTrainedModel

from utils.model.batch import PackedBatch
from utils.model.quantizations import QUANTIZATIONS, Quantization
from utils.model.quantized import kept_layers

GIB = 2**30
CHUNK = 64  # tokens that linear attention takes at once
FOUR_BIT_BYTES = 0.5 + 4 / 64  # of a weight, with its part of a float32 scale for 64 of them


class DoesNotFit(torch.OutOfMemoryError, MemoryError):
    """What does not fit into memory, however small its parts; the message says what would."""


# ---- from shapes ----


def on_meta(make: Callable[[PreTrainedConfig], PreTrainedModel], config: PreTrainedConfig) -> PreTrainedModel:
    """``make(config)``, a model, with shapes and without weights."""
    with torch.device("meta"):
        return make(config)


def weight_bytes(model: PreTrainedModel, itemsize: int, quantize: Quantization | None = None) -> int:
    """Of the weights of a ``model`` that is not quantised, if it were loaded with ``itemsize`` bytes a number."""
    kept, total, seen = set(kept_layers(model)), 0.0, set()
    for name, layer in model.named_modules():
        for part, weight in layer.named_parameters(recurse=False):
            if weight in seen:  # a head that is the embedding
                continue
            seen.add(weight)
            if quantize is None or not isinstance(layer, nn.Linear) or name in kept or part != "weight":
                total += weight.numel() * itemsize
            elif quantize == "8bit":
                total += weight.numel() + 4 * len(weight)  # a float32 scale for each row
            else:
                total += weight.numel() * FOUR_BIT_BYTES
    return round(total)


def activation_bytes(
    model: PreTrainedModel, batch: PackedBatch, itemsize: int, quantize: Quantization | None = None
) -> int:
    """The most that ranking ``batch`` takes beside the weights of ``model``, a backbone on "meta"; an estimate.

    Counted are what is largest: photos as patches, the vision tower's widest layer, the key-value cache with the keys
    and values that the heads of one layer share, recurrent layers' states, and the widest layer of the language model.
    Attention is taken to keep no matrix of scores, as torch's fused kernels do.
    """
    block = [layer for layer in model.visual.blocks[0].modules() if isinstance(layer, nn.Linear)]
    widest, width = max(layer.out_features for layer in block), min(layer.in_features for layer in block)
    patches = int(batch.image_grid_thw.prod(-1).sum())
    pixels = 0 if batch.pixel_values is None else batch.pixel_values.numel() * 4
    tower = 0 if batch.pixel_values is None else patches * (3 * widest + 3 * width) * itemsize
    features = (batch.prefix_image_rows >= 0).sum() + (batch.suffix_image_rows >= 0).sum()
    calls = [_call_bytes(model, batch, chosen, itemsize, quantize) for chosen in batch.suffixes_by_length()]
    return pixels + max(tower, int(features) * model.config.get_text_config().hidden_size * itemsize + max(calls))


def _call_bytes(
    model: PreTrainedModel, batch: PackedBatch, chosen: LongTensor, itemsize: int, quantize: Quantization | None
) -> int:
    """Of one call of the language model on the ``chosen`` suffixes over the cache of their prefixes."""
    text = model.config.get_text_config()
    layers = dict(model.language_model.named_modules())
    recurrent = [layer for name, layer in layers.items() if name.endswith(".linear_attn")]
    attention = [layer for name, layer in layers.items() if name.endswith(".self_attn")]
    heads, key_values = attention[-1].o_proj.in_features, 2 * attention[-1].k_proj.out_features
    queries, prefix = batch.prefix_ids.shape
    length = int(batch.suffix_mask[chosen].sum(1).max())
    tokens, keys = len(chosen) * length, len(chosen) * (prefix + length)
    cache = len(attention) * key_values * queries * prefix * itemsize
    cache += sum(queries * _state_bytes(layer, itemsize) for layer in recurrent)
    attended = keys * (2 * heads + key_values) + tokens * (2 * heads + attention[-1].q_proj.out_features)
    attended += tokens * (prefix + length)  # the mask, in numbers
    mixed = [attended * itemsize, *(_recurrent_bytes(layer, len(chosen), length, itemsize) for layer in recurrent)]
    feed_forward = tokens * (3 * text.intermediate_size + text.hidden_size) * itemsize
    if quantize == "8bit":  # the products of whole numbers, 32 bits each
        feed_forward += tokens * text.intermediate_size * 4
    elif quantize == "4bit":  # the widest layer, as it is multiplied
        feed_forward += text.intermediate_size * text.hidden_size * itemsize
    return cache + tokens * 2 * text.hidden_size * itemsize + max(feed_forward, *mixed)


def _state_bytes(layer: nn.Module, itemsize: int) -> int:
    """Of the state that linear attention keeps of one sequence; the recurrent part is in float32."""
    return layer.num_v_heads * layer.head_k_dim * layer.head_v_dim * 4 + layer.conv1d.weight.numel() * itemsize


def _recurrent_bytes(layer: nn.Module, rows: int, length: int, itemsize: int) -> int:
    """Of one call of linear attention, as transformers computes it without flash-linear-attention.

    Chunks of 64 tokens are computed in float32. How many copies there are of what was measured, to 7% (2026-11-29).
    """
    chunked = rows * math.ceil(length / CHUNK) * CHUNK  # tokens, the last chunk padded
    width, state = layer.head_k_dim + layer.head_v_dim, layer.head_k_dim * layer.head_v_dim
    numbers = layer.num_v_heads * (chunked * (5 * width + 3 * CHUNK) + 4 * rows * state)
    return 4 * numbers + rows * length * (layer.conv_dim + layer.value_dim) * itemsize


# ---- what would fit ----


def room(device: torch.device) -> int | None:
    """Bytes that this process may have on a GPU: what is free there, and what it holds. None of other devices."""
    if device.type != "cuda":
        return None
    return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)


def remedy(
    model: PreTrainedModel, itemsize: int, quantize: Quantization | None, work: Mapping[Quantization, int], space: int
) -> str:
    """The first ``--quantize`` with which ``model``, which has shapes only, would fit into ``space`` bytes, in words.

    ``quantize`` is what it has now; ``work`` says how many bytes it takes beside its weights.
    """
    stronger = QUANTIZATIONS[0 if quantize is None else QUANTIZATIONS.index(quantize) + 1 :]
    for name in stronger:
        total = weight_bytes(model, itemsize, name) + work[name]
        if total <= space:
            return f"--quantize {name} takes about {total / GIB:.1f} of the {space / GIB:.1f} GiB there are"
    return f"no --quantize makes it fit into the {space / GIB:.1f} GiB there are"


def remedy_for(model: PreTrainedModel, quantize: Quantization | None, batch: PackedBatch) -> str:
    """The same for a loaded ``model`` that ranks and cannot take ``batch``, to end a message; empty on a CPU."""
    space = room(model.device)
    if space is None:
        return ""
    shapes, itemsize = on_meta(type(model), model.config), model.dtype.itemsize
    work = {name: activation_bytes(shapes.base_model, batch, itemsize, name) for name in QUANTIZATIONS}
    return f": {remedy(shapes, itemsize, quantize, work, space)}"


def too_large(
    model_class: type[AutoModel] | type[AutoModelForImageTextToText],
    base: str | os.PathLike,
    dtype: torch.dtype | str,
    device: torch.device,
    quantize: Quantization | None,
) -> DoesNotFit:
    """The error for a checkpoint whose weights do not fit onto ``device``, as ``load_checkpoint`` was given them."""
    config = AutoConfig.from_pretrained(base)
    model = on_meta(model_class.from_config, config)
    itemsize = (dtype if isinstance(dtype, torch.dtype) else config.dtype or torch.float32).itemsize
    total, space = weight_bytes(model, itemsize, quantize), room(device)
    message = f"{base} does not fit into memory: its weights take {total / GIB:.1f} GiB"
    if space is not None:
        message += f"; {remedy(model, itemsize, quantize, dict.fromkeys(QUANTIZATIONS, 0), space)}"
    return DoesNotFit(message)
