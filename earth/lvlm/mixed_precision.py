"""The precision that the embedded world's base model is trained in."""

import torch

from utils.model.device import multiplies


def mixed_precision() -> torch.autocast:
    """Within, matrices are multiplied in bfloat16, where the CPU has instructions for it."""
    return torch.autocast("cpu", torch.bfloat16, enabled=multiplies(torch.bfloat16, "cpu"))
