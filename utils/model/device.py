"""Where a process computes, and in what."""

from typing import TypeVar

import torch
from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def own_device(local_rank: int) -> str:
    """``cuda:LOCAL_RANK``, the GPU of this process on its machine, where there is one; else ``cpu``."""
    return f"cuda:{local_rank}" if torch.cuda.is_available() else "cpu"


def checked_device(name: str) -> torch.device:
    """The device of that name: the CPU, a GPU of CUDA, or another accelerator that torch has here.

    Raises ``ValueError`` where it is none of these, or this machine lacks it.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    # Torch knows names of what it cannot compute on: `meta` has no values, most others need a build of their own.
    here = torch.accelerator.current_accelerator(check_available=True)
    if device is None or device.type not in {"cpu", "cuda", here and here.type}:
        raise ValueError(f"device {name}: it is cpu, cuda or cuda:N, such as cuda:0")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {name}: this machine, or this build of torch, has no CUDA: cpu is left")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device {name}: this machine's last GPU is cuda:{torch.cuda.device_count() - 1}")
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
