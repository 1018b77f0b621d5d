"""Adapter folders: a LoRA and score head as peft writes them, and ``georanker.json`` beside them.

Released adapters have no such file (``adapter_info.py``), and their tensors have other names (``adapter_names.py``).
"""

import os
from pathlib import Path

from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import (
    CONFIG_NAME,
    SAFETENSORS_WEIGHTS_NAME,
    get_peft_model_state_dict,
    set_peft_model_state_dict,
)
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from utils.model.adapter_names import HEAD, TARGETS, is_released, our_config, our_names
from utils.model.checkpoint import check_tensors


def add_lora(model: nn.Module, r: int = 16, dropout: float = 0.05) -> PeftModel:
    """A fresh LoRA on the language model's q, k and v projections; the score head is trained with it.

    The released setting is r 16, alpha 2 r, dropout 0.05 (paper 2505.13731). All other weights are frozen.
    Draws from torch's global random generator.
    """
    config = LoraConfig(
        r=r,
        lora_alpha=2 * r,
        lora_dropout=dropout,
        target_modules=TARGETS,
        modules_to_save=[HEAD],
    )
    return get_peft_model(model, config)


def read_config(folder: str | os.PathLike) -> LoraConfig:
    """The configuration of an adapter folder. Raises ``FileNotFoundError`` where ``folder`` is none."""
    for name in (CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME):
        if not Path(folder, name).is_file():
            raise FileNotFoundError(f"{folder} is no adapter folder: {name} is missing")
    return LoraConfig.from_pretrained(str(folder))


def read_tensors(folder: str | os.PathLike) -> dict[str, Tensor]:
    """The tensors of an adapter folder. Raises ``ValueError``, naming the file, where it is damaged."""
    path = Path(folder, SAFETENSORS_WEIGHTS_NAME)
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path}: {error}") from error


def load_lora(model: nn.Module, folder: str | os.PathLike, trainable: bool = False) -> PeftModel:
    """Put the adapter of ``folder``, ours or a released one, onto a ``GeoRanker``.

    Raises ``FileNotFoundError`` where ``folder`` is no adapter folder, and ``ValueError``, listing the
    tensors, unless it holds exactly those that its configuration gives this model, in their shapes: nothing
    stays at its random start, nothing is left over.
    """
    config, tensors = read_config(folder), read_tensors(folder)
    if is_released(config):
        config, tensors = our_config(config), our_names(tensors)
    config.inference_mode = not trainable
    adapted = PeftModel(model, config)
    # peft itself only warns of missing tensors and says nothing of others.
    expected = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    shapes = {name: tensor.shape for name, tensor in expected.items()}
    check_tensors(f"adapter {folder} does not fit the model", tensors, shapes)
    set_peft_model_state_dict(adapted, tensors)
    return adapted
