"""Where a process computes when nobody says so."""

import torch


def own_device(local_rank: int) -> str:
    """``cuda:LOCAL_RANK``, the GPU of this process on its machine, where there is one; else ``cpu``."""
    return f"cuda:{local_rank}" if torch.cuda.is_available() else "cpu"
