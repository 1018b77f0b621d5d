"""A GeoRanker as a checkpoint that ``vllm serve`` takes as it is.

vLLM (0.32) knows no GeoRanker, but makes a classifier of any of its models whose configuration names the architecture
``...ForSequenceClassification``: a linear head on the last token's last hidden state, in float32, as ours. So what is
written is the base model with the adapter merged into it, the head as that classifier's, and one label.

vLLM reads weights by the names that the hub's checkpoints of a family have, and looks for the head where it makes it:
in the language model of Qwen2-VL and Qwen2.5-VL, beside that of Qwen3-VL.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from huggingface_hub import save_torch_state_dict
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError
from torch import Tensor

from utils.geo_ranker import GeoRanker
from utils.jobs.files import write_json
from utils.jobs.folders import whole_folder
from utils.jobs.reading import naming, read_json_object
from utils.model.adapter import load_lora
from utils.model.adapter_config import read_config
from utils.model.adapter_info import AdapterInfo, adapter_info, recorded_base
from utils.model.checkpoint import CONFIG, WEIGHTS
from utils.model.fingerprints import model_folder
from utils.serving.identity import PROMPT_FILES, checkpoint_label
from utils.serving.room import check_room

SHARD = "5GB"  # the most that one file of weights holds
DTYPES = ("float32", "bfloat16", "float16")
COPIED = (*PROMPT_FILES, "video_preprocessor_config.json")  # vLLM asks for the way with videos, too


@dataclass(frozen=True)
class Family:
    """What vLLM calls a kind of model, and the names that it reads weights by in place of ours."""

    architecture: str
    names: Mapping[str, str]  # beginning of a name in a GeoRanker -> beginning in the checkpoint


HEAD = "score."  # beginning of its name in a GeoRanker
_QWEN2 = {"backbone.visual.": "visual.", "backbone.language_model.": "model.", HEAD: "language_model.score."}
_QWEN3 = {"backbone.": "model.", HEAD: HEAD}
FAMILIES = {
    "qwen2_vl": Family("Qwen2VLForSequenceClassification", _QWEN2),
    "qwen2_5_vl": Family("Qwen2_5_VLForSequenceClassification", _QWEN2),
    "qwen3_vl": Family("Qwen3VLForSequenceClassification", _QWEN3),
}


def write_vllm_checkpoint(
    adapter: str | os.PathLike,
    output: str | os.PathLike,
    base: str | os.PathLike | None = None,
    dtype: torch.dtype | None = None,
) -> tuple[str, AdapterInfo]:
    """Merge ``adapter``, ours or a released one, into its base model and write the checkpoint into ``output``.

    Args:
        base: hub name or folder; None: the one that the adapter names.
        dtype: of the weights; None: as the base model is stored. The adapter is merged in float32 either way, and the
            head stays in float32.

    Returns the name of the weights' dtype, and what holds for the adapter on ``base``, with its size limits of photos
    filled in. The base model is read into memory.

    Raises ``FileExistsError`` where ``output`` holds something, ``ValueError``, naming what is wrong, where adapter or
    base is damaged, the base is of a family that this cannot write, the adapter limits candidates' photos, or the disk
    becomes full, and ``OSError`` where it has too little room from the start.
    """
    base = base or recorded_base(adapter) or read_config(adapter).base_model_name_or_path
    if base is None:
        raise ValueError(f"{adapter} names no base model: give it with --base_model")
    source = model_folder(base)
    config = read_json_object(source / CONFIG)
    with naming(source / CONFIG):
        family = _family(config)
        stored = _stored_dtype(config)
        dtype = dtype or stored
    info = adapter_info(adapter, base)
    label = checkpoint_label(adapter, info, base, _name(dtype))
    with whole_folder(output) as folder:
        check_room(output, folder, source, dtype)
        ranker = _merged(base, adapter, info, stored)
        with naming(output, SafetensorError):  # where the disk is full, say
            save_torch_state_dict(_tensors(ranker, family, dtype), folder, max_shard_size=SHARD)
        write_json(folder / CONFIG, config | _as_classifier(config, family, dtype, label))
        for path in folder.glob(WEIGHTS):  # safetensors writes them for their owner alone, and vLLM may be another
            shutil.copymode(folder / CONFIG, path)
        ranker.packer.image_processor.save_pretrained(folder)
        for path in (path for pattern in COPIED for path in source.glob(pattern)):
            shutil.copy(path, folder)
    own = ranker.info
    return _name(dtype), replace(info, base_model=str(base), min_pixels=own.min_pixels, max_pixels=own.max_pixels)


def _family(config: Mapping[str, Any]) -> Family:
    if config.get("model_type") not in FAMILIES:
        raise ValueError(f"model_type is {config.get('model_type')!r}: for vLLM it must be {' or '.join(FAMILIES)}")
    if "quantization_config" in config:
        raise ValueError("the base model is quantised: an adapter is merged into whole weights only")
    return FAMILIES[config["model_type"]]


def _stored_dtype(config: Mapping[str, Any]) -> torch.dtype:
    """As newer and older versions of transformers note it."""
    name = config.get("dtype") or config.get("torch_dtype")
    if name not in DTYPES:
        raise ValueError(f"dtype is {name!r}: it must be {' or '.join(DTYPES)}")
    return getattr(torch, name)


def _merged(base: str | os.PathLike, adapter: str | os.PathLike, info: AdapterInfo, dtype: torch.dtype) -> GeoRanker:
    """The ranker as the base model is stored, but for the weights that the adapter was merged into: float32."""
    ranker = GeoRanker.from_pretrained(
        base, layout=info.layout, dtype=dtype, device="cpu", min_pixels=info.min_pixels, max_pixels=info.max_pixels
    )
    adapted = load_lora(ranker, adapter)
    for layer in adapted.modules():
        if isinstance(layer, LoraLayer):
            layer.get_base_layer().float()
    return adapted.merge_and_unload()


def _tensors(ranker: GeoRanker, family: Family, dtype: torch.dtype) -> dict[str, Tensor]:
    """The weights under vLLM's names: the head in float32, all else as ``dtype``."""
    tensors = {}
    for name, tensor in ranker.state_dict().items():
        (beginning,) = (part for part in family.names if name.startswith(part))
        kept = torch.float32 if name.startswith(HEAD) else dtype
        tensors[family.names[beginning] + name.removeprefix(beginning)] = tensor.to(kept)
    return tensors


def _as_classifier(config: Mapping[str, Any], family: Family, dtype: torch.dtype, label: str) -> dict[str, Any]:
    """What of ``config.json`` tells vLLM to compute rewards."""
    return {
        "architectures": [family.architecture],
        "dtype": _name(dtype),
        "torch_dtype": _name(dtype),  # as older versions of transformers call it
        "num_labels": 1,
        "id2label": {"0": label},
        "label2id": {label: 0},
        **_interleaved(config),
    }


def _interleaved(config: Mapping[str, Any]) -> dict[str, Any]:
    """How Qwen3-VL numbers photos, said aloud: transformers does so whatever its configuration says, vLLM does not."""
    if config["model_type"] != "qwen3_vl":
        return {}
    text = config["text_config"]
    rope = "rope_parameters" if "rope_parameters" in text else "rope_scaling"  # as older versions call them
    return {"text_config": text | {rope: text[rope] | {"mrope_interleaved": True}}}


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
