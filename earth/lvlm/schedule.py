"""What the pretraining scripts share: their flags, the learning rate, steps and checkpoints, and the log of losses."""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from earth.build_dataset import DEFAULT_DIR
from utils.jobs.files import atomic_path

CHECKPOINT = "checkpoint.pt"


def add_flags(parser: argparse.ArgumentParser, run: str, steps: int, peak: float, save_every: int, seed: int) -> None:
    """The flags of every stage; the arguments are a stage's own defaults, ``peak`` that of the learning rate."""
    add = parser.add_argument
    add("--data", type=Path, default=DEFAULT_DIR, help="the built benchmark (default: %(default)s)")
    add("--output_dir", type=Path, default=Path("checkpoints/earth-base"), help="(%(default)s)")
    add("--run", type=Path, default=Path(run), help="checkpoint and what is computed once (%(default)s)")
    add("--resume", action="store_true", help="go on from the checkpoint in --run")
    add("--steps", type=int, default=steps, help="(%(default)s)")
    add("--views", type=int, default=4, help="photos of each place, the same in all stages (%(default)s)")
    add("--learning_rate", type=float, default=peak, help="(%(default)s)")
    add("--log_every", type=int, default=50, help="steps (%(default)s)")
    add("--save_every", type=int, default=save_every, help="steps (%(default)s)")
    add("--workers", type=int, default=2, help="processes that take photos (%(default)s)")
    add("--seed", type=int, default=seed, help="(%(default)s)")


def add_flags_of_later_stages(parser: argparse.ArgumentParser) -> None:
    """Flags of a stage that goes on from the weights and the photos of the first."""
    add = parser.add_argument
    add("--model", type=Path, default=Path("checkpoints/earth-base"), help="where the stage before is (%(default)s)")
    add("--photos", type=Path, default=Path("runs/earth-base/photos.npy"), help="of the first stage (%(default)s)")
    add("--photo_seed", type=int, default=0, help="--seed of the first stage, which took the photos (%(default)s)")


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The arguments of the command line, and the folder --run. A fresh start over a checkpoint is refused."""
    args = parser.parse_args()
    if not args.resume and (args.run / CHECKPOINT).exists():
        parser.error(f"{args.run / CHECKPOINT} is of an earlier run: go on from it with --resume, or use another --run")
    args.run.mkdir(parents=True, exist_ok=True)
    return args


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


class LossLog:
    """Prints mean losses and pace every so many steps."""

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
            print(f"step {step}  {means}  {pace:.0f} {self.unit}/s", flush=True)
            self.sums.zero_()
