"""Where a process computes, and in what."""

from typing import TypeVar

import torch
from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def own_device(local_rank: int) -> str:
    """``cuda:LOCAL_RANK``, the GPU of this process on its machine, where there is one; else ``cpu``."""
    return f"cuda:{local_rank}" if torch.cuda.is_available() else "cpu"


def checked_device(name: str) -> torch.device:
    """The device of that name. Raises ``ValueError`` where there is none, or torch was built without it."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device {name}: {str(error).splitlines()[0]}") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {name}: this machine, or this build of torch, has no CUDA")
    return device


def multiplies(dtype: torch.dtype, device: torch.device | str) -> bool:
    """Whether ``device`` has instructions for products of matrices of 16-bit ``dtype``, or it is a wider one.

    Many CPUs have none for bfloat16: torch 2.13 then takes 3 to 11 times as long as in float32 (docs/speed.md).
    """
    if torch.device(device).type != "cpu" or dtype.itemsize > 2:
        return True
    if not torch.backends.mkldnn.is_available():  # such a build need not have the operators below
        return False
    # What torch itself asks before it hands such a product to oneDNN.
    of_cpu = {
        torch.bfloat16: torch.ops.mkldnn._is_mkldnn_bf16_supported,
        torch.float16: torch.ops.mkldnn._is_mkldnn_fp16_supported,
    }
    return dtype in of_cpu and of_cpu[dtype]()


def placed(model: Module, device: torch.device | str) -> Module:
    """``model`` on ``device``, and in float32 where that cannot multiply what its weights are stored in."""
    dtypes = {weights.dtype for weights in model.parameters()}
    return model.to(device, None if all(multiplies(dtype, device) for dtype in dtypes) else torch.float32)
