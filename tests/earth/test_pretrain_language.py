from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from earth import build_dataset, lvlm
from earth.language_data import Group
from earth.pretrain_language import TOP, Heads, group_losses, main
from utils.candidates import Query

BASE = Path(__file__).parents[2] / "checkpoints" / "earth-base"


def test_losses_of_groups_against_loops():
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    heads, states = Heads(12), torch.randn(10, 12)
    groups = []
    for _ in range(2):
        similarity = np.concatenate([rng.uniform(0.5, 1, (4, 2)), np.full((1, 2), np.nan)])
        groups.append(Group(Query("photo 0", ()), rng.uniform(1, 5000, 5), similarity))
    spread = np.array([0.8, 0.7]), np.array([0.1, 0.2])
    found = group_losses(heads, states, groups, spread).tolist()

    ranks, squares, smooth = [], [], []
    for number, group in enumerate(groups):
        own = states[number * 5 : number * 5 + 5]
        rewards = heads.rank(own)[:, 0].tolist()
        left = sorted(range(5), key=lambda candidate, group=group: group.km[candidate])
        for _ in range(TOP):
            total = sum(np.exp(rewards[candidate]) for candidate in left)
            ranks.append(-np.log(np.exp(rewards[left.pop(0)]) / total))
        for candidate in range(5):
            wanted = torch.tensor(np.log(1 + group.km[candidate]))
            smooth.append(functional.smooth_l1_loss(heads.log_km(own[candidate])[0], wanted.float()).item())
            if candidate < 4:
                wanted = (group.similarity[candidate] - spread[0]) / spread[1]
                squares.append((heads.similarity(own[candidate]).detach().numpy() - wanted) ** 2)
    np.testing.assert_allclose(found, [np.mean(ranks), np.mean(smooth), *np.mean(squares, axis=0)], rtol=1e-4)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with a small Earth."""
    folder = tmp_path_factory.mktemp("earth")
    build_dataset.build(folder / "data", (60, 10, 1, 5, 1), seed=0, workers=1)
    return folder


def run(monkeypatch, world, name, *flags):
    paths = {"data": "data", "output_dir": name, "run": f"{name}-run", "photos": "photos.npy"}
    arguments = [part for flag, path in paths.items() for part in (f"--{flag}", str(world / path))]
    arguments += ["--model", str(BASE), "--groups", "2", "--lessons", "2", "--views", "1"]
    arguments += ["--steps", "2", "--save_every", "1", "--workers", "1", *flags]
    monkeypatch.setattr("sys.argv", ["pretrain_language", *arguments])
    main()
    return load_file(world / name / "model.safetensors")


def test_only_the_language_model_learns_and_a_resumed_run_ends_where_a_whole_one_does(monkeypatch, world, capsys):
    base = load_file(BASE / "model.safetensors")
    whole = run(monkeypatch, world, "whole")
    assert "validation: first" in capsys.readouterr().out
    assert base.keys() == whole.keys()
    changed = {name for name in base if not torch.equal(base[name], whole[name])}
    assert any(".layers.0.self_attn.q_proj" in name for name in changed)
    assert not any("visual" in name for name in changed)

    save = lvlm.save

    def interrupted(*arguments):
        save(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(lvlm, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(monkeypatch, world, "part")
    monkeypatch.setattr(lvlm, "save", save)
    resumed = run(monkeypatch, world, "part", "--resume")
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


def test_few_candidates_are_refused(monkeypatch, world):
    with pytest.raises(SystemExit):
        run(monkeypatch, world, "none", "--group_size", "4")
