import numpy as np
import torch
from torch.nn import functional

from earth.language_data import Group
from earth.pretrain_language import TOP, Heads, group_losses
from utils.candidates import Query


def test_losses_of_groups_against_loops():
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    heads, states = Heads(12), torch.randn(10, 12)
    groups = []
    for _ in range(2):
        cosines = np.append(rng.uniform(0.5, 1, 4), np.nan)
        groups.append(Group(Query("photo 0", ()), rng.uniform(1, 5000, 5), cosines))
    rank, km, cosine = group_losses(heads, states, groups, (0.8, 0.1)).tolist()

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
                squares.append((heads.cosine(own[candidate]).item() - (group.cosines[candidate] - 0.8) / 0.1) ** 2)
    np.testing.assert_allclose([rank, km, cosine], [np.mean(ranks), np.mean(smooth), np.mean(squares)], rtol=1e-4)
