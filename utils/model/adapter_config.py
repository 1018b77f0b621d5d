"""``adapter_config.json``: a plain LoRA as peft writes it, and what its settings may be.

peft takes settings as they come: it leaves out those that it does not know, takes its own defaults for missing ones,
and some of its variants change the base model's weights. What was damaged would rank otherwise without a word.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peft import LoraConfig
from peft.utils import CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME

from utils.jobs.reading import check_kinds, naming, read_json_object

# What the settings of a ranker's LoRA are, and what holds where an old version of peft left one out.
FLAGS = ("use_rslora", "use_dora", "fan_in_fan_out", "inference_mode")
NOTES = ("base_model_name_or_path", "peft_version", "revision", "task_type")
KINDS = {
    "peft_type": str,
    "r": int,
    "lora_alpha": int | float,
    "target_modules": str | list,
    "modules_to_save": list | None,
    "lora_dropout": int | float,
    "rank_pattern": dict,
    "alpha_pattern": dict,
    **dict.fromkeys(FLAGS, bool),
    **dict.fromkeys(NOTES, str | None),
    "auto_mapping": dict | None,
    "init_lora_weights": bool | str,
}
DEFAULTS = {
    "lora_dropout": 0.0,
    "rank_pattern": {},
    "alpha_pattern": {},
    "auto_mapping": None,
    "init_lora_weights": True,
    **dict.fromkeys(FLAGS, False),
    **dict.fromkeys(NOTES),
}
LARGEST = 1_000_000  # rank or alpha; usual ones are below 1,000


def read_config(folder: str | os.PathLike) -> LoraConfig:
    """The configuration of an adapter folder.

    Raises ``FileNotFoundError`` where ``folder`` is none, and ``ValueError``, naming file and setting, where it is not
    that of a plain LoRA.
    """
    for name in (CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME):
        if not Path(folder, name).is_file():
            raise FileNotFoundError(f"{folder} is no adapter folder: {name} is missing")
    path = Path(folder, CONFIG_NAME)
    values = read_json_object(path)
    with naming(path):
        check_settings(values)
        return LoraConfig.from_pretrained(str(folder))


def check_settings(values: Mapping[str, Any]) -> None:
    """Raise ``ValueError``, naming the setting, unless ``values`` are those of a plain LoRA."""
    if missing := [name for name in KINDS if name not in values and name not in DEFAULTS]:
        raise ValueError(f"{', '.join(missing)} is missing")
    values = DEFAULTS | values
    check_kinds(values, KINDS)
    if values["peft_type"] != "LORA":
        raise ValueError(f"peft_type is {values['peft_type']!r}: it must be 'LORA'")
    for name in ("target_modules", "modules_to_save"):
        if isinstance(values[name], list) and not all(isinstance(module, str) for module in values[name]):
            raise ValueError(f"{name} holds what is no name")
    if not 0 <= values["lora_dropout"] < 1:
        raise ValueError(f"lora_dropout is {values['lora_dropout']}: it lies between 0 and 1")
    if values["init_lora_weights"] not in (True, False, "gaussian"):
        raise ValueError(f"init_lora_weights is {values['init_lora_weights']!r}: it changes the base model")
    _check_sizes(values)
    _check_variants(values)


def _check_sizes(values: Mapping[str, Any]) -> None:
    """Ranks and alphas, those of single modules included."""
    for name, kind, pattern in (("r", int, "rank_pattern"), ("lora_alpha", int | float, "alpha_pattern")):
        check_kinds(values[pattern], dict.fromkeys(values[pattern], kind))
        for key in values[pattern]:
            try:
                re.compile(key)
            except re.error as error:
                raise ValueError(f"{pattern} names {key!r}: {error}") from error
        for key, value in {name: values[name], **values[pattern]}.items():
            if not 0 < value <= LARGEST:
                raise ValueError(f"{key} is {value}: it must be positive and at most {LARGEST}")


def _check_variants(values: Mapping[str, Any]) -> None:
    """All else is off, or what peft takes by itself."""
    usual = vars(LoraConfig())
    for name in values.keys() - KINDS.keys():
        value, own = values[name], usual.get(name)
        off = value in (None, False) and not own if name in usual else not value  # of what peft does not know
        if value != own and not off:
            raise ValueError(f"{name} is set: this peft does not know it, or it is no setting of a plain LoRA")
