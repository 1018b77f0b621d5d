"""What the stages of pretraining share: the course of the learning rate, the optimizer, what is said of losses."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from earth.lvlm.flags import CHECKPOINT
from utils.jobs.files import atomic_path

logger = logging.getLogger(__name__)


def learning_rate(step: int, steps: int, peak: float, warmup: int = 200, fall: float = 0.25) -> float:
    """Linear warm-up, constant, and linear fall to zero over the last share ``fall`` of the steps."""
    return peak * min(1.0, (step + 1) / warmup, (steps - step) / (steps * fall))


class Trainer:
    """AdamW on the parameters of ``modules`` that want a gradient, which is clipped to length 1; and a checkpoint."""

    def __init__(self, run: Path, **modules: nn.Module) -> None:
        """``run``: the folder of the checkpoint."""
        self.checkpoint, self.modules = run / CHECKPOINT, modules
        self.parameters = [own for module in modules.values() for own in module.parameters() if own.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, betas=(0.9, 0.98), weight_decay=0.05, fused=True)

    def step(self, learning_rate: float) -> None:
        """Follow the gradients that the parameters have, and clear them."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def save(self, done: int) -> None:
        """``done``: how many steps."""
        parts = {**self.modules, "optimizer": self.optimizer}
        with atomic_path(self.checkpoint) as temporary:
            torch.save({name: part.state_dict() for name, part in parts.items()} | {"step": done}, temporary)

    def load(self) -> int:
        """Put everything back to where it was saved, and return the steps done."""
        state = torch.load(self.checkpoint, weights_only=True)
        for name, part in {**self.modules, "optimizer": self.optimizer}.items():
            part.load_state_dict(state[name])
        return state["step"]


def average_gradients(parameters: list[nn.Parameter]) -> None:
    """Give all processes the mean of their gradients, in one message."""
    gradients = [parameter.grad for parameter in parameters]
    together = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(together)
    parts = (together / dist.get_world_size()).split([gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))


class LossLog:
    """Says mean losses and pace every so many steps."""

    def __init__(self, names: Sequence[str], every: int, unit: str, units: int) -> None:
        """``units`` of ``unit`` are done in a step, say 24 groups."""
        self.names, self.every, self.unit, self.units = tuple(names), every, unit, units
        self.sums = torch.zeros(len(self.names))
        self.started, self.steps, self.said = time.monotonic(), 0, 0

    def add(self, step: int, losses: torch.Tensor) -> None:
        """``losses`` (names,) of a step, after which ``step`` steps are done."""
        self.sums += losses.detach()
        self.steps += 1
        if step % self.every == 0:
            summed, self.said = self.steps - self.said, self.steps  # fewer than ``every`` after resuming in between
            means = "  ".join(f"{name} {x:.3f}" for name, x in zip(self.names, self.sums / summed, strict=True))
            pace = self.steps * self.units / (time.monotonic() - self.started)
            logger.info("step %d  %s  %.0f %s/s", step, means, pace, self.unit)
            self.sums.zero_()
