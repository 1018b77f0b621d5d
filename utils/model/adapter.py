"""Adapter folders: a LoRA and score head as peft writes them, and ``georanker.json`` beside them.

Released adapters have no such file (``adapter_info.py``), and their tensors have other names (``adapter_names.py``).
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from peft.utils import (
    CONFIG_NAME,
    SAFETENSORS_WEIGHTS_NAME,
    get_peft_model_state_dict,
    set_peft_model_state_dict,
)
from peft.utils.other import get_pattern_key
from torch import Tensor, nn

from utils.jobs.reading import naming
from utils.model.adapter_config import read_config
from utils.model.adapter_names import HEAD, TARGETS, is_released, our_config, our_names
from utils.model.checkpoint import check_tensors, load_tensors
from utils.model.quantizations import Quantization


def add_lora(model: nn.Module, r: int = 16, dropout: float = 0.05) -> PeftModel:
    """A fresh LoRA on the language model's q, k and v projections (recurrent layers have one matrix for all three).

    The score head is trained with it; all other weights are frozen. The released setting is r 16, alpha 2 r, dropout
    0.05 (paper 2505.13731). Draws from torch's global random generator.
    """
    config = LoraConfig(
        r=r,
        lora_alpha=2 * r,
        lora_dropout=dropout,
        target_modules=TARGETS,
        modules_to_save=[HEAD],
    )
    return get_peft_model(model, config)


def read_tensors(folder: str | os.PathLike) -> dict[str, Tensor]:
    """The tensors of an adapter folder. Raises ``ValueError``, naming file and tensor, where one is damaged."""
    return load_tensors(Path(folder, SAFETENSORS_WEIGHTS_NAME))


def load_lora(
    model: nn.Module, folder: str | os.PathLike, trainable: bool = False, quantize: Quantization | None = None
) -> PeftModel:
    """Put the adapter of ``folder``, ours or a released one, onto a ``GeoRanker`` whose base is quantised or not.

    Raises ``FileNotFoundError`` where ``folder`` is no adapter folder, and ``ValueError``, naming the file, where one
    of its files is damaged, or listing the tensors, unless it holds exactly those that its configuration gives this
    model, in their shapes: nothing stays at its random start, nothing is left over.
    """
    config, tensors = read_config(folder), read_tensors(folder)
    if is_released(config):
        with naming(Path(folder, SAFETENSORS_WEIGHTS_NAME)):
            config, tensors = our_config(config), our_names(tensors)
    with naming(Path(folder, CONFIG_NAME), re.error):
        check_patterns(config, tensors)
        config.inference_mode = not trainable
        # What peft asks of a model before it takes the layers of its own that suit bitsandbytes'.
        model.is_loaded_in_8bit, model.is_loaded_in_4bit = quantize == "8bit", quantize == "4bit"
        adapted = PeftModel(model, config)
    # peft itself only warns of missing tensors and says nothing of others.
    expected = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    shapes = {name: tensor.shape for name, tensor in expected.items()}
    files = f"{SAFETENSORS_WEIGHTS_NAME}, {CONFIG_NAME}"
    check_tensors(f"adapter {folder} does not fit the model ({files})", tensors, shapes)
    set_peft_model_state_dict(adapted, tensors)
    return adapted


@contextmanager
def without_lora(model: nn.Module) -> Iterator[None]:
    """Within, the layers of ``model`` compute without their LoRA, where they have one that is not merged."""
    layers = [layer for layer in model.modules() if isinstance(layer, LoraLayer)]
    trained = [weight for layer in layers for weight in layer.parameters() if weight.requires_grad]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)
            layer.requires_grad_(False)  # peft has made all of it trainable
        for weight in trained:
            weight.requires_grad_(True)


def check_patterns(config: LoraConfig, tensors: Mapping[str, Tensor]) -> None:
    """Raise ``ValueError``, naming the setting, for ranks that no tensor has and for modules that have no LoRA.

    peft would make room for such a rank before any shape is compared, and pass over such a module.
    """
    largest = max((max(tensor.shape, default=0) for tensor in tensors.values()), default=0)
    if (rank := max([config.r, *config.rank_pattern.values()])) > largest:
        raise ValueError(f"r is {rank}, but no tensor of the adapter has so many rows")
    modules = [name.partition(".lora_A.")[0] for name in tensors if ".lora_A." in name]
    for key in [*config.rank_pattern, *config.alpha_pattern]:
        if not any(get_pattern_key([key], module) == key for module in modules):
            raise ValueError(f"rank_pattern or alpha_pattern names {key}, which has no LoRA")
