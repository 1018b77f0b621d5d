"""Rewriting a released adapter as an ordinary one of this project."""

import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from peft import LoraConfig
from peft.utils import CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME
from peft.utils.other import get_pattern_key
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Size, Tensor

from utils.jobs.folders import whole_folder
from utils.jobs.reading import naming
from utils.model.adapter import read_tensors
from utils.model.adapter_config import read_config
from utils.model.adapter_info import DOMAIN_FILENAME, AdapterInfo, adapter_info
from utils.model.adapter_names import HEAD, LAYERS, PREFIX, is_released, our_config, our_names
from utils.model.checkpoint import check_tensors


def convert(released: Path, output: Path, base_model: str | None = None) -> AdapterInfo:
    """Write the adapter of ``released`` into ``output`` as ours, and return what its georanker.json says.

    Raises ``FileNotFoundError`` where ``released`` is no adapter folder, ``FileExistsError`` where ``output``
    holds something, and ``ValueError``, naming what is wrong, where the adapter is none of the released ones
    or not whole.
    """
    config = read_config(released)
    if not is_released(config):
        raise ValueError(f"{released} is no released adapter: modules_to_save is {config.modules_to_save}")
    tensors = read_tensors(released)
    with naming(released / SAFETENSORS_WEIGHTS_NAME):
        config, tensors = our_config(config), our_names(tensors)
    check_complete(released, config, tensors)
    config.base_model_name_or_path = base_model or config.base_model_name_or_path
    if config.base_model_name_or_path is None:
        raise ValueError(f"{released} names no base model: give it with --base_model")
    # Calibration may have put a georanker.json beside it, which names the base model from another place.
    info = replace(adapter_info(released, config.base_model_name_or_path), base_model=config.base_model_name_or_path)

    with whole_folder(output) as folder:
        config.save_pretrained(
            str(folder), auto_mapping_dict={"base_model_class": "GeoRanker", "parent_library": "utils.geo_ranker"}
        )
        with naming(output, SafetensorError):  # where the disk is full, say
            save_file(tensors, folder / SAFETENSORS_WEIGHTS_NAME, metadata={"format": "pt"})
        info.save(folder)
        if info.domain is not None:
            shutil.copy(released / DOMAIN_FILENAME, folder)
    return info


def check_complete(folder: Path, config: LoraConfig, tensors: Mapping[str, Tensor]) -> None:
    """Raise ``ValueError``, listing the tensors, unless every layer up to the last has its LoRA and there is a head.

    The measure for the shapes is the head's width (1, hidden), layer 0's outputs, and the configured ranks.
    """
    numbers = [int(match[1]) for name in tensors if (match := re.match(rf"{re.escape(PREFIX + LAYERS)}(\d+)\.", name))]
    head = f"{PREFIX}{HEAD}.weight"
    modules = [
        f"{PREFIX}{LAYERS}{number}.self_attn.{projection}_proj"
        for number in range(min(max(numbers, default=0), len(tensors)) + 1)  # a damaged name may have any number
        for projection in "qkv"
    ]
    names = [head, *(f"{module}.lora_{side}.weight" for module in modules for side in "AB")]
    what = f"adapter {folder} does not fit the model ({SAFETENSORS_WEIGHTS_NAME}, {CONFIG_NAME})"
    check_tensors(what, tensors, {name: tensors[name].shape if name in tensors else Size() for name in names})

    hidden = tensors[head].shape[-1:]
    expected = {head: Size((1, *hidden))}
    for module in modules:
        rank = config.rank_pattern.get(get_pattern_key(list(config.rank_pattern), module), config.r)
        first = re.sub(r"(?<=\.layers\.)\d+", "0", module)
        expected[f"{module}.lora_A.weight"] = Size((rank, *hidden))
        expected[f"{module}.lora_B.weight"] = Size((*tensors[f"{first}.lora_B.weight"].shape[:1], rank))
    check_tensors(what, tensors, expected)
