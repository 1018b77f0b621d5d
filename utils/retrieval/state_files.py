"""Files of tensors as ``torch.save`` writes them: those that G3 and GeoCLIP are released in."""

import os
import pickle
from typing import Any

import torch
from torch import Tensor

from utils.jobs.reading import naming, one_line
from utils.model.checkpoint import check_finite


def read_state(path: str | os.PathLike) -> dict[str, Any]:
    """The dictionary in a file of tensors. Raises ``ValueError``, naming the file, where it is none or damaged."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict):
            raise pickle.UnpicklingError(f"it holds a {type(state).__name__}, no dictionary")
    except FileNotFoundError:
        raise
    except Exception as error:  # the pickle is interpreted as it comes: it may fail anyhow
        raise ValueError(f"{path} is not a file of tensors: {one_line(error)}") from error
    return state


def check_numbers(path: str | os.PathLike, tensors: dict[str, Any]) -> dict[str, Tensor]:
    """``tensors``, which ``path`` holds. Raises ``ValueError``, naming both, unless they are finite and floating."""
    with naming(path):
        for name, tensor in tensors.items():
            if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
                raise ValueError(f"{name} is no tensor of floating-point numbers")
        check_finite(tensors)
    return tensors
