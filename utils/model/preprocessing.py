"""What stands before a checkpoint's weights: its image processor and tokenizer, read and compared with its model."""

import math
import os
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, BaseImageProcessor, PreTrainedModel, PreTrainedTokenizerBase
from transformers.image_utils import PILImageResampling

# From its module: transformers 5.17 hides the name at the top level where torchvision is missing.
from transformers.models.auto.image_processing_auto import AutoImageProcessor

from utils.jobs.reading import check_kinds, naming, read_json_object
from utils.model.checkpoint import naming_part

PROCESSOR, TOKENIZER = "preprocessor_config.json", "tokenizer_config.json"
CHANNELS = 3
STEPS = ("do_resize", "do_rescale", "do_normalize", "do_convert_rgb")
NUMBERS = ("size", "resample", "rescale_factor", "image_mean", "image_std")
# What the tower calls the same.
PATCHES = {"patch_size": "patch_size", "temporal_patch_size": "temporal_patch_size", "merge_size": "spatial_merge_size"}


def load_image_processor(base: str | os.PathLike) -> BaseImageProcessor:
    """The image processor of a checkpoint. Raises ``ValueError``, naming file and setting, where it is damaged."""
    with naming_part(base, PROCESSOR, "processor_config.json"):
        processor = AutoImageProcessor.from_pretrained(base, backend="pil")
    settings = processor.to_dict()
    with naming(Path(base, PROCESSOR)):
        for name in STEPS:
            if not isinstance(settings.get(name), bool | None):
                raise ValueError(f"{name} cannot be {settings[name]!r}")
        for name in ("image_mean", "image_std"):
            values = settings.get(name)
            if values is not None and not (len(values) == CHANNELS and all(map(_is_number, values))):
                raise ValueError(f"{name} is {values}: it must be {CHANNELS} finite numbers")
        if settings.get("image_std") is not None and min(settings["image_std"]) <= 0:
            raise ValueError(f"image_std is {settings['image_std']}: it must be positive")
        factor = settings.get("rescale_factor")
        if factor is not None and not (_is_number(factor) and factor > 0):
            raise ValueError(f"rescale_factor is {factor}: it must be positive")
        if settings.get("resample") is not None:
            PILImageResampling(settings["resample"])
    return processor


def load_tower_processor(base: str | os.PathLike, backbone: PreTrainedModel) -> BaseImageProcessor:
    """The image processor of a Qwen-VL checkpoint, which cuts photos into the patches that its ``backbone`` takes.

    Raises ``ValueError`` as ``load_image_processor`` does, for a setting that is null, and where it would cut others.
    """
    processor, tower = load_image_processor(base), backbone.config.vision_config
    settings = processor.to_dict()
    path = Path(base, PROCESSOR)
    with naming(path):
        # What is null in the file would be a step left out, or a default of another model.
        values = read_json_object(path) if path.is_file() else {}
        if null := [name for name in (*STEPS, *NUMBERS, *PATCHES) if values.get(name, 0) is None]:
            raise ValueError(f"{', '.join(null)} cannot be null")
        for name, own in PATCHES.items():
            if settings.get(name) != (wanted := getattr(tower, own)):
                raise ValueError(f"{name} is {settings.get(name)!r}, but {own} is {wanted} in config.json")
        edges = [processor.size["shortest_edge"], processor.size["longest_edge"]]
        if not all(isinstance(edge, int) for edge in edges) or not 1 <= edges[0] <= edges[1]:
            raise ValueError(f"size is {edges} pixels: it must be positive and rise")
    return processor


def check_room(max_pixels: int | None, processor: BaseImageProcessor) -> None:
    """Raise ``ValueError`` where candidates' photos of at most ``max_pixels`` would have no room for a token."""
    side = processor.patch_size * processor.merge_size
    if max_pixels is not None and max_pixels < side**2:
        raise ValueError(f"candidate_max_pixels is {max_pixels}: a token takes {side} x {side} = {side**2} pixels")


def load_tokenizer(base: str | os.PathLike, backbone: PreTrainedModel, image_token: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a Qwen-VL checkpoint, whose ``backbone`` knows the placeholder of photos by the same number.

    Raises ``ValueError``, naming the file, where it is damaged or of another model.
    """
    with naming_part(base, TOKENIZER, "tokenizer.json", "vocab.json", "added_tokens.json", "special_tokens_map.json"):
        tokenizer = AutoTokenizer.from_pretrained(base)
        found, wanted = tokenizer.convert_tokens_to_ids(image_token), backbone.config.image_token_id
        if found != wanted:
            raise ValueError(f"{image_token} is token {found}, but image_token_id is {wanted} in config.json")
        check_kinds(vars(tokenizer), {"model_max_length": int | float})
        if tokenizer.pad_token_id is None:
            raise ValueError("pad_token is missing")
    return tokenizer


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
