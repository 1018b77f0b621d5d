"""Whether a disk has room for a checkpoint, asked before the base model is read."""

import math
import os
import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from utils.jobs.reading import naming
from utils.model.checkpoint import WEIGHTS

WORDS = "lm_head.weight"  # the head that a ranker has not


def check_room(output: str | os.PathLike, folder: Path, source: Path, dtype: torch.dtype) -> None:
    """Raise ``OSError`` where the disk of ``folder`` has less room than the weights of ``source`` take as ``dtype``.

    ``output`` is what the message names. Raises ``ValueError``, naming it, for a damaged file of ``source``.
    """
    needed, free = _numbers(source) * dtype.itemsize, shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(
            f"{output}: {needed / 1e6:,.1f} MB are to be written, and the disk has room for {free / 1e6:,.1f}"
        )


def _numbers(source: Path) -> int:
    """How many numbers the weights of a checkpoint have, by the heads of its files."""
    count = 0
    for path in source.glob(WEIGHTS):
        with naming(path, SafetensorError), safe_open(path, "pt") as file:
            kept = (name for name in file.keys() if name != WORDS)  # noqa: SIM118
            count += sum(math.prod(file.get_slice(name).get_shape()) for name in kept)
    return count
