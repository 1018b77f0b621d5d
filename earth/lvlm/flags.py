"""Flags of the three pretrainings, and the folder that a run goes into."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from earth.recipe import BASE, DEFAULT_DIR
from utils.cli.flags import at_least, positive
from utils.data_paths import check_files
from utils.jobs.outputs import check_outputs

CHECKPOINT = "checkpoint.pt"
NEEDED = ("gallery/metadata.csv", "gallery/images.tar", "pretrain/metadata.csv", "val/metadata.csv", "val/images")


def add_flags(parser: argparse.ArgumentParser, run: str, steps: int, peak: float, save_every: int, seed: int) -> None:
    """The flags of every stage; the arguments are a stage's own defaults, ``peak`` that of the learning rate."""
    add = parser.add_argument
    add("--data", type=Path, default=DEFAULT_DIR, help="the built benchmark (default: %(default)s)")
    add("--output_dir", type=Path, default=BASE, help="(%(default)s)")
    add("--run", type=Path, default=Path(run), help="checkpoint and what is computed once (%(default)s)")
    add("--resume", action="store_true", help="go on from the checkpoint in --run")
    add("--steps", type=at_least(1), default=steps, help="(%(default)s)")
    add("--views", type=at_least(1), default=4, help="photos of each place, the same in all stages (%(default)s)")
    add("--learning_rate", type=positive, default=peak, help="(%(default)s)")
    add("--log_every", type=at_least(1), default=50, help="steps (%(default)s)")
    add("--save_every", type=at_least(1), default=save_every, help="steps (%(default)s)")
    add("--workers", type=at_least(1), default=2, help="processes that take photos (%(default)s)")
    add("--seed", type=at_least(0), default=seed, help="(%(default)s)")


def add_flags_of_later_stages(parser: argparse.ArgumentParser) -> None:
    """Flags of a stage that goes on from the weights and the photos of the first."""
    add = parser.add_argument
    add("--model", type=Path, default=BASE, help="where the stage before is (%(default)s)")
    add("--photos", type=Path, default=Path("runs/earth-base/photos.npy"), help="of the first stage (%(default)s)")
    add("--photo_seed", type=at_least(0), default=0, help="--seed of the first stage, of its photos (%(default)s)")


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """The arguments of the command line. A fresh start over a checkpoint is refused."""
    args = parser.parse_args(arguments)
    if not args.resume and (args.run / CHECKPOINT).exists():
        parser.error(f"{args.run / CHECKPOINT} is of an earlier run: go on from it with --resume, or use another --run")
    return args


def open_run(args: argparse.Namespace, model: Path | None = None) -> None:
    """Make the folder --run, once all that a stage reads is there: the built benchmark, and a later stage's ``model``.

    Raises ``FileNotFoundError`` for what is not, the checkpoint among it where the run is to go on from one.
    """
    files = [("data", args.data / name) for name in NEEDED]
    files += [("model", model and model / "config.json")]
    check_files([*files, ("run", args.run / CHECKPOINT if args.resume else None)])
    check_outputs(folders=[("--output_dir", args.output_dir), ("--run", args.run)])
