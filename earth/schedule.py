"""What the loops of pretraining share: the learning rate, checkpoints, and the log of losses."""

import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from utils.files import atomic_path


def learning_rate(step: int, steps: int, peak: float, warmup: int = 200, fall: float = 0.25) -> float:
    """Linear warm-up, constant, and linear fall to zero over the last share ``fall`` of the steps."""
    return peak * min(1.0, (step + 1) / warmup, (steps - step) / (steps * fall))


def save_checkpoint(path: Path, step: int, **parts: nn.Module | torch.optim.Optimizer) -> None:
    with atomic_path(path) as temporary:
        torch.save({name: part.state_dict() for name, part in parts.items()} | {"step": step}, temporary)


def load_checkpoint(path: Path, **parts: nn.Module | torch.optim.Optimizer) -> int:
    """Put the parts back to where they were saved, and return the steps done."""
    state = torch.load(path, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return state["step"]


class LossLog:
    """Prints mean losses and pace every so many steps."""

    def __init__(self, names: Sequence[str], every: int, unit: str, units: int) -> None:
        """``units`` of ``unit`` are done in a step, say 24 groups."""
        self.names, self.every, self.unit, self.units = tuple(names), every, unit, units
        self.sums = torch.zeros(len(self.names))
        self.started, self.steps = time.monotonic(), 0

    def add(self, step: int, losses: torch.Tensor) -> None:
        """``losses`` (names,) of a step, after which ``step`` steps are done."""
        self.sums += losses.detach()
        self.steps += 1
        if step % self.every == 0:
            means = "  ".join(f"{name} {x:.3f}" for name, x in zip(self.names, self.sums / self.every, strict=True))
            pace = self.steps * self.units / (time.monotonic() - self.started)
            print(f"step {step}  {means}  {pace:.0f} {self.unit}/s", flush=True)
            self.sums.zero_()
