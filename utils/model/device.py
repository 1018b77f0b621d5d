"""Where a process computes."""

import torch


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
