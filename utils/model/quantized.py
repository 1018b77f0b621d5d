"""Loading a checkpoint with its language model's linear layers in 8 or 4 bits (``quantizations.py``), by bitsandbytes.

Everything else stays as it is: embeddings, norms, heads, the gates of recurrent layers, which are small and whose error
adds up from token to token, and the vision tower. In 4 bits a Qwen2-VL-2B describes other
things than it sees where its tower is quantised, too (https://unsloth.ai/blog/dynamic-4bit), and features that were
cached without quantising stay valid.
"""

import logging
import os
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText, BitsAndBytesConfig, PreTrainedModel

from utils.jobs.packages import check_package
from utils.model.quantizations import Quantization

GATES = (".linear_attn.in_proj_a", ".linear_attn.in_proj_b")  # how much of its state a token forgets, and writes


def quantizing(
    model_class: type[AutoModel] | type[AutoModelForImageTextToText],
    base: str | os.PathLike,
    quantize: Quantization,
    dtype: torch.dtype | str,
    device: torch.device | str,
) -> dict[str, Any]:
    """Options of ``model_class.from_pretrained(base, ...)`` that quantise while loading, straight onto ``device``.

    Raises ``ValueError`` where bitsandbytes is missing, and for a checkpoint that is quantised already.
    """
    check_package("quantize", "bitsandbytes", "quantize")
    config = AutoConfig.from_pretrained(base)
    if "quantization_config" in config.to_dict():
        raise ValueError(f"{base} is quantised already: load it without quantize")
    # On a CPU it says of every product that activations are rounded to float16 before they are quantised.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    with torch.device("meta"):
        model = model_class.from_config(config)
    settings = BitsAndBytesConfig(
        load_in_8bit=quantize == "8bit",
        load_in_4bit=quantize == "4bit",
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=dtype if isinstance(dtype, torch.dtype) else config.dtype,
        llm_int8_skip_modules=kept_layers(model),
    )
    return {"quantization_config": settings, "device_map": {"": device}}


def kept_layers(model: PreTrainedModel) -> list[str]:
    """The names of the linear layers that are not quantised: those outside of the language model, head and gates."""
    inside = set(model.get_decoder().modules()) - {model.get_output_embeddings()}
    linear = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, nn.Linear)]
    return [name for name, layer in linear if layer not in inside or name.endswith(GATES)]


def compute_as_loaded(model: PreTrainedModel) -> None:
    """Keep layers in 4 bits from a kernel for some CPUs, which rounds activations to bfloat16 in a float32 model.

    That of bitsandbytes 0.50 also divides by zero where a layer is given no tokens, as the last one is for a prefix.
    """
    from bitsandbytes.nn import Linear4bit

    for layer in model.modules():
        if isinstance(layer, Linear4bit):
            layer.support_avx512bf16_for_cpu = False


def wrong_shapes(model: PreTrainedModel) -> Iterator[tuple[str, torch.Size, torch.Size]]:
    """(name, stored, expected) of quantised weights of another shape, which transformers (5.23) does not look at."""
    from bitsandbytes.nn import Linear4bit, Linear8bitLt, Params4bit

    for name, layer in model.named_modules():
        if isinstance(layer, Linear4bit) and isinstance(layer.weight, Params4bit):  # else it is missing
            stored = layer.weight.quant_state.shape
        elif isinstance(layer, Linear8bitLt):
            stored = layer.weight.shape
        else:
            continue
        expected = torch.Size((layer.out_features, layer.in_features))
        if stored != expected:
            yield f"{name}.weight", stored, expected
