"""What the tests of the pretraining scripts share."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from earth.lvlm import model as lvlm

BASE = Path(__file__).parents[2] / "checkpoints" / "earth-base"


class Interrupted(BaseException):
    """Stops a run as a kill does; a KeyboardInterrupt would end the command in an orderly way."""


Run = Callable[..., dict[str, Tensor]]


def runner(main: Callable[[list[str]], int], world: Path, *flags: str) -> Run:
    """A function that runs ``main`` for two steps on the Earth in ``world`` and returns the weights it saves.

    Its arguments: the name of the output folder, and further flags.
    """

    def run(name: str, *more: str) -> dict[str, Tensor]:
        paths = {"data": "data", "output_dir": name, "run": f"{name}-run"}
        arguments = [part for flag, path in paths.items() for part in (f"--{flag}", str(world / path))]
        arguments += ["--views", "1", "--steps", "2", "--save_every", "1", "--workers", "1"]
        assert main([*arguments, *flags, *more]) == 0
        return load_file(world / name / "model.safetensors")

    return run


def later_stage(small_earth: Path) -> tuple[str, ...]:
    """Flags of a stage that goes on from the shipped weights, and from photos that are taken once for all tests."""
    return "--model", str(BASE), "--photos", str(small_earth / "photos.npy")


def check_resuming(monkeypatch: pytest.MonkeyPatch, run: Run) -> dict[str, Tensor]:
    """A run that is resumed after a step ends where a whole one does, whose weights are returned."""
    whole = run("whole")
    save = lvlm.save

    def interrupted(*arguments):
        save(*arguments)
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(lvlm, "save", interrupted)
        with pytest.raises(Interrupted):
            run("part")
    resumed = run("part", "--resume")
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)
    return whole


def check_learning(monkeypatch: pytest.MonkeyPatch, run: Run, learns: Callable[[str], bool]) -> None:
    """Only weights that ``learns`` names change, and a run can be resumed."""
    base = load_file(BASE / "model.safetensors")
    whole = check_resuming(monkeypatch, run)
    assert base.keys() == whole.keys()
    changed = {name for name in base if not torch.equal(base[name], whole[name])}
    assert changed
    assert all(learns(name) for name in changed)
