"""Whether tensors on disk fit the model that they are loaded into: if not, each one that does not is named."""

import os
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModel, AutoModelForImageTextToText, PreTrainedModel

# The hub's Qwen2-VL checkpoints say `visual`, those saved with the module names of newer transformers `model.visual`,
# which transformers' own conversion would take for a part of the language model (5.23).
KEY_MAPPING = {r"^model\.visual\.": "visual."}


def check_tensors(what: str, tensors: Mapping[str, Tensor], expected: Mapping[str, torch.Size]) -> None:
    """Raise ``ValueError``, listing the tensors, unless ``tensors`` have exactly the expected names and shapes.

    ``what`` begins the message, such as "adapter FOLDER does not fit the model".
    """
    shapes = [
        (name, tensors[name].shape, shape)
        for name, shape in expected.items()
        if name in tensors and tensors[name].shape != shape
    ]
    _refuse_misfits(what, expected.keys() - tensors.keys(), shapes, tensors.keys() - expected.keys())


def load_checkpoint(
    model_class: type[AutoModel] | type[AutoModelForImageTextToText],
    base: str | os.PathLike,
    unused: Collection[str] | None = None,
    **options: Any,
) -> PreTrainedModel:
    """``model_class.from_pretrained(base, **options)`` where the checkpoint fits.

    Raises ``ValueError``, listing the tensors, where the checkpoint lacks some, has some of another shape, or holds
    any that the model has no place for; those named in ``unused`` may be left over, and all of them where it is None.
    """
    model, loading = model_class.from_pretrained(
        base,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # they are listed below
        **options,
    )
    left_over = None if unused is None else set(loading["unexpected_keys"]) - set(unused)
    what = f"checkpoint {base} does not fit {type(model).__name__}"
    _refuse_misfits(what, loading["missing_keys"], loading["mismatched_keys"], left_over)
    return model


def _refuse_misfits(
    what: str,
    missing: Collection[str],
    shapes: Collection[tuple[str, torch.Size, torch.Size]],
    unexpected: Collection[str] | None,
) -> None:
    """Raise ``ValueError`` where anything is listed; ``shapes`` are (name, stored, expected).

    With None for ``unexpected``, nothing is said about tensors that are left over.
    """
    if not (missing or shapes or unexpected):
        return
    wrong = [f"{name} {list(stored)} instead of {list(own)}" for name, stored, own in sorted(shapes)]
    parts = [f"missing tensors {sorted(missing)}"]
    parts += [] if unexpected is None else [f"unexpected tensors {sorted(unexpected)}"]
    raise ValueError(f"{what}: {', '.join([*parts, f'wrongly shaped tensors {wrong}'])}")
