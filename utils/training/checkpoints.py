"""Which checkpoint a training goes on from, and what is left to train."""

import json
import logging
import os
import shutil
from pathlib import Path
from zipfile import is_zipfile

from safetensors import SafetensorError, safe_open

from utils.jobs.files import atomic_path
from utils.model.adapter_info import FILENAME

logger = logging.getLogger(__name__)

# What inference needs of a checkpoint; the weights come last, so that who sees them sees the others.
ADAPTER_FILES = ("README.md", "adapter_config.json", FILENAME, "adapter_model.safetensors")


def starting_point(folder: str | os.PathLike, continue_from: str | None) -> Path | None:
    """The checkpoint that a training which saves into ``folder`` goes on from; None where it starts anew.

    ``continue_from``: a checkpoint, a folder of them, or ``latest`` for the newest in ``folder``; None to start anew.
    Raises FileNotFoundError where there is none to go on from, and ValueError for a new start in a folder that has
    complete ones: ``latest`` would later go on from the wrong training.
    """
    if continue_from:
        return find_checkpoint(folder if continue_from == "latest" else continue_from)
    if any(map(is_complete, Path(folder).glob("checkpoint-*"))):
        raise ValueError(
            f"{folder} has checkpoints of an earlier training: go on from them with "
            "--continue_ckpt_path latest, or remove them, or save to another folder"
        )
    return None


def find_checkpoint(path: str | os.PathLike) -> Path:
    """``path`` if it is a complete Trainer checkpoint, else the newest complete one in the folder ``path``.

    A checkpoint whose writing was interrupted, or a file of which is damaged, is passed over. Raises FileNotFoundError
    where there is none.
    """
    path = Path(path)
    if is_whole(path):
        return path
    checkpoints = sorted(path.glob("checkpoint-*"), key=lambda folder: int(folder.name.rpartition("-")[2]))
    for checkpoint in reversed(checkpoints):
        if is_whole(checkpoint):
            return checkpoint
    raise FileNotFoundError(f"{path} is no complete training checkpoint and holds none")


def steps_done(checkpoint: Path) -> int:
    """How many optimiser steps a complete Trainer checkpoint has behind it."""
    return json.loads((checkpoint / "trainer_state.json").read_text())["global_step"]


def is_finished(checkpoint: Path, steps: int) -> bool:
    """Whether a checkpoint has all of so many steps behind it. Raises ``ValueError`` where it has more."""
    done = steps_done(checkpoint)
    if done > steps:
        raise ValueError(
            f"{checkpoint} has {done} steps behind it, and these settings make {steps}: nothing is left to train; "
            "--num_train_epochs or --max_steps says how long the whole training is"
        )
    return done == steps


def copy_adapter(checkpoint: Path, folder: str | os.PathLike) -> None:
    """Copy the adapter of a checkpoint into ``folder``, file by file complete."""
    for name in ADAPTER_FILES:
        with atomic_path(Path(folder) / name) as path:
            shutil.copyfile(checkpoint / name, path)


def adopt_finished(checkpoint: Path, steps: int, folder: str | os.PathLike) -> None:
    """Make a checkpoint that has all ``steps`` behind it the adapter of ``folder``, and say so (WARNING)."""
    copy_adapter(checkpoint, folder)
    logger.warning(
        "nothing is left to train: %s has all %d steps of these settings behind it, and is now the adapter "
        "of %s; --num_train_epochs or --max_steps says how long the whole training is",
        checkpoint,
        steps,
        folder,
    )


def is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint is complete and no file of it is cut off; says which one is."""
    if not is_complete(checkpoint):
        return False
    cut = [path for path in sorted(checkpoint.rglob("*")) if _is_cut(path)]
    if cut:
        logger.warning("%s is damaged: no training goes on from this checkpoint", cut[0])
    return not cut


def _is_cut(path: Path) -> bool:
    if path.suffix in (".pt", ".pth"):  # what torch saves is a zip file, whose table of contents comes last
        return not is_zipfile(path)
    if path.suffix != ".safetensors":
        return False
    try:
        with safe_open(path, "np"):
            return False
    except SafetensorError:
        return True


def is_complete(checkpoint: Path) -> bool:
    """Whether a training can go on from a checkpoint.

    The Trainer writes its state last; a kill while it is written leaves text that is no JSON.
    """
    try:
        json.loads((checkpoint / "trainer_state.json").read_text())
    except (FileNotFoundError, ValueError):
        return False
    return True
