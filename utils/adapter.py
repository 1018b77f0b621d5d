"""Adapter folders: a LoRA and score head as peft writes them, and ``georanker.json`` beside them.

``georanker.json`` says how the adapter was trained, so that inference always matches training. Released
adapters have none; they mean the published prompt, and their tensors have other names (``utils/adapter_names.py``).
"""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
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

from utils.adapter_names import HEAD, TARGETS, is_released, our_config, our_names
from utils.files import atomic_path
from utils.prompts import LAYOUTS, PARTS, Layout, Part

FILENAME = "georanker.json"
# What the settings of georanker.json may be.
KINDS = {
    "base_model": str,
    **dict.fromkeys(("min_pixels", "max_pixels", "group_size"), int | None),
    **dict.fromkeys(("temperature", "similarity_weight"), int | float),
}


@dataclass(frozen=True)
class AdapterInfo:
    """How an adapter was trained. Raises ``ValueError``, naming the setting, where a value is impossible."""

    base_model: str  # hub name or folder of the backbone
    layout: Layout = "published"  # prompt layout, see utils/prompts.py
    min_pixels: int | None = None  # size limits of a photo; None: those of the backbone's own preprocessor
    max_pixels: int | None = None
    group_size: int | None = None  # candidates in a training group
    temperature: float = 1.0  # probabilities = softmax(rewards / temperature), fitted on validation queries
    similarity_weight: float = 0.0  # `a` of reward + a * similarity, fitted on validation queries
    omit: tuple[Part, ...] = ()  # what was left out of the prompt, see utils/prompts.py

    def __post_init__(self) -> None:
        for name, kinds in KINDS.items():
            if not isinstance(getattr(self, name), kinds) or isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} cannot be {getattr(self, name)!r}")
        if self.layout not in LAYOUTS:
            raise ValueError(f"layout is {self.layout!r}: it is one of {', '.join(LAYOUTS)}")
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature is {self.temperature}: it must be positive")
        if not math.isfinite(self.similarity_weight):
            raise ValueError(f"similarity_weight is {self.similarity_weight}: it must be finite")
        if any(part not in PARTS or self.omit.count(part) > 1 for part in self.omit):
            raise ValueError(f"omit is {list(self.omit)}: it is some of {', '.join(PARTS)}, each once")

    @classmethod
    def load(cls, folder: str | os.PathLike) -> "AdapterInfo":
        """Read ``folder/georanker.json``.

        Raises ``FileNotFoundError`` where there is none, and ``ValueError``, naming file and setting, where
        it is not what ``save`` writes.
        """
        path = Path(folder) / FILENAME
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(values, dict):
                raise ValueError("no JSON object")
            if unknown := sorted(values.keys() - {field.name for field in fields(cls)}):
                raise ValueError(f"unknown settings {', '.join(unknown)}")
            if "base_model" not in values:
                raise ValueError("base_model is missing")
            return cls(**values | {"omit": tuple(values.get("omit", ()))})
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from error

    def save(self, folder: str | os.PathLike) -> None:
        with atomic_path(Path(folder) / FILENAME) as path:
            path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def recorded_base(folder: str | os.PathLike | None) -> str | None:
    """The base model that ``georanker.json`` in ``folder`` names; None without one, as in a released adapter."""
    if folder is None or not Path(folder, FILENAME).exists():
        return None
    return AdapterInfo.load(folder).base_model


def add_lora(model: nn.Module, r: int = 16, alpha: float | None = None, dropout: float = 0.05) -> PeftModel:
    """A fresh LoRA on the language model's q, k and v projections; the score head is trained with it.

    The released setting is r 16, alpha 2 r, dropout 0.05 (paper 2505.13731). All other weights are frozen.
    Draws from torch's global random generator.
    """
    config = LoraConfig(
        r=r,
        lora_alpha=2 * r if alpha is None else alpha,
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


def check_tensors(folder: str | os.PathLike, tensors: Mapping[str, Tensor], expected: Mapping[str, torch.Size]) -> None:
    """Raise ``ValueError``, listing the tensors, unless those of ``folder`` have the expected names and shapes."""
    wrong = [
        f"{name} {list(tensors[name].shape)} instead of {list(expected[name])}"
        for name in sorted(tensors.keys() & expected.keys())
        if tensors[name].shape != expected[name]
    ]
    missing, unexpected = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
    if missing or unexpected or wrong:
        raise ValueError(
            f"adapter {folder} does not fit the model: missing tensors {missing}, unexpected tensors {unexpected}, "
            f"wrongly shaped tensors {wrong}"
        )


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
    check_tensors(folder, tensors, {name: tensor.shape for name, tensor in expected.items()})
    set_peft_model_state_dict(adapted, tensors)
    return adapted


def save_lora(adapted: PeftModel, folder: str | os.PathLike, info: AdapterInfo) -> None:
    """Write an adapter folder. Embeddings are never trained, so peft need not ask the hub about them."""
    adapted.save_pretrained(str(folder), save_embedding_layers=False)
    info.save(folder)
