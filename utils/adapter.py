"""Adapter folders: a LoRA and score head as peft writes them, and ``georanker.json`` beside them.

``georanker.json`` says how the adapter was trained, so that inference always matches training. Released
adapters have none; they mean the published prompt.
"""

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import CONFIG_NAME, get_peft_model_state_dict, load_peft_weights, set_peft_model_state_dict
from torch import nn

from utils.files import atomic_path
from utils.prompts import LAYOUTS, Layout

FILENAME = "georanker.json"
TARGETS = r"backbone\.language_model\.layers\.\d+\.self_attn\.(q_proj|k_proj|v_proj)"


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

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise ValueError(f"layout is {self.layout!r}: it is one of {', '.join(LAYOUTS)}")
        if not self.temperature > 0:
            raise ValueError(f"temperature is {self.temperature}: it must be positive")

    @classmethod
    def load(cls, folder: str | os.PathLike) -> "AdapterInfo":
        """Read ``folder/georanker.json``.

        Raises ``FileNotFoundError`` where there is none, and ``ValueError``, naming file and setting, where
        it is not what ``save`` writes.
        """
        path = Path(folder) / FILENAME
        text = path.read_text(encoding="utf-8")
        try:
            values = json.loads(text)
            if unknown := sorted(values.keys() - {field.name for field in fields(cls)}):
                raise ValueError(f"unknown settings {', '.join(unknown)}")
            if "base_model" not in values:
                raise ValueError("base_model is missing")
            return cls(**values)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def save(self, folder: str | os.PathLike) -> None:
        with atomic_path(Path(folder) / FILENAME) as path:
            path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


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
        modules_to_save=["score"],
    )
    return get_peft_model(model, config)


def load_lora(model: nn.Module, folder: str | os.PathLike, trainable: bool = False) -> PeftModel:
    """Put the adapter of ``folder`` onto a ``GeoRanker``.

    Raises ``FileNotFoundError`` where ``folder`` is no adapter folder, and ``ValueError``, naming the
    tensors, unless it holds exactly those that its configuration gives this model: nothing stays at its
    random start, nothing is left over.
    """
    if not (Path(folder) / CONFIG_NAME).is_file():
        raise FileNotFoundError(f"{folder} is no adapter folder: {CONFIG_NAME} is missing")
    config = LoraConfig.from_pretrained(str(folder))
    config.inference_mode = not trainable
    adapted = PeftModel(model, config)
    tensors = load_peft_weights(str(folder), device="cpu")
    # peft itself only warns of missing tensors and says nothing of others.
    stored, expected = set(tensors), set(get_peft_model_state_dict(adapted, save_embedding_layers=False))
    if stored != expected:
        raise ValueError(
            f"adapter {folder} does not fit the model: "
            f"missing tensors {sorted(expected - stored)}, unexpected tensors {sorted(stored - expected)}"
        )
    set_peft_model_state_dict(adapted, tensors)
    return adapted


def save_lora(adapted: PeftModel, folder: str | os.PathLike, info: AdapterInfo) -> None:
    """Write an adapter folder. Embeddings are never trained, so peft need not ask the hub about them."""
    adapted.save_pretrained(str(folder), save_embedding_layers=False)
    info.save(folder)
