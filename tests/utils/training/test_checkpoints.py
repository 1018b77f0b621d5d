import os

import pytest
import torch
from safetensors.torch import save_file

from utils.training.checkpoints import find_checkpoint, starting_point, steps_done


def test_find_checkpoint_passes_over_incomplete_ones(tmp_path):
    for step, state in ((900, "{}"), (1000, "{}"), (1100, '{"global_st'), (1200, None)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if state is not None:
            (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(state)
    assert find_checkpoint(tmp_path) == tmp_path / "checkpoint-1000"
    assert find_checkpoint(tmp_path / "checkpoint-900") == tmp_path / "checkpoint-900"
    with pytest.raises(FileNotFoundError, match="checkpoint-1200"):
        find_checkpoint(tmp_path / "checkpoint-1200")


def test_a_damaged_checkpoint_is_passed_over_and_named(tmp_path, caplog):
    for step in (1, 2, 3):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "trainer_state.json").write_text("{}")
        torch.save({"a": torch.zeros(99)}, folder / "rng_state.pth")
        save_file({"a": torch.zeros(99)}, folder / "adapter_model.safetensors")
    assert find_checkpoint(tmp_path).name == "checkpoint-3"
    assert caplog.messages == []
    for name, size in (("checkpoint-3/rng_state.pth", 700), ("checkpoint-2/adapter_model.safetensors", 200)):
        os.truncate(tmp_path / name, size)
    assert find_checkpoint(tmp_path).name == "checkpoint-1"
    damaged = ("checkpoint-3/rng_state.pth", "checkpoint-2/adapter_model.safetensors")
    assert caplog.messages == [f"{tmp_path / n} is damaged: no training goes on from this checkpoint" for n in damaged]
    with pytest.raises(FileNotFoundError, match="checkpoint-3 is no complete training checkpoint"):
        find_checkpoint(tmp_path / "checkpoint-3")


def test_a_training_starts_anew_or_goes_on(tmp_path):
    folder, other = tmp_path / "folder", tmp_path / "other"
    assert starting_point(folder, None) is None
    with pytest.raises(FileNotFoundError, match="folder is no complete training checkpoint"):
        starting_point(folder, "latest")
    for path in (folder, other):
        (path / "checkpoint-5").mkdir(parents=True)
        assert starting_point(path, None) is None  # a first checkpoint that a kill left half written
        (path / "checkpoint-5" / "trainer_state.json").write_text("{}")
    assert starting_point(folder, "latest") == folder / "checkpoint-5"
    assert starting_point(folder, str(other)) == other / "checkpoint-5"
    with pytest.raises(ValueError, match="folder has checkpoints of an earlier training"):
        starting_point(folder, None)


def test_steps_are_those_of_the_trainer(tmp_path):
    (tmp_path / "trainer_state.json").write_text('{"epoch": 2.5, "global_step": 40, "max_steps": 80}')
    assert steps_done(tmp_path) == 40
