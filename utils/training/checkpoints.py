"""Which checkpoint a training goes on from."""

import json
import os
from pathlib import Path


def find_checkpoint(path: str | os.PathLike) -> Path:
    """``path`` if it is a complete Trainer checkpoint, else the newest complete one in the folder ``path``.

    A checkpoint whose writing was interrupted is passed over. Raises FileNotFoundError where there is none.
    """
    path = Path(path)
    if _is_complete(path):
        return path
    checkpoints = sorted(path.glob("checkpoint-*"), key=lambda folder: int(folder.name.rpartition("-")[2]))
    for checkpoint in reversed(checkpoints):
        if _is_complete(checkpoint):
            return checkpoint
    raise FileNotFoundError(f"{path} is no complete training checkpoint and holds none")


def _is_complete(checkpoint: Path) -> bool:
    """The Trainer writes its state last; a kill while it is written leaves text that is no JSON."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_text())
    except (FileNotFoundError, ValueError):
        return False
    return True
