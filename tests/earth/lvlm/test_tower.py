import numpy as np
import pytest
import torch

from earth.lvlm.contrast import soft_contrastive
from earth.lvlm.data import Batch
from earth.lvlm.tiles import token_ground
from earth.lvlm.tower import APART_KM, PATCH_KM, TowerHeads, patch_loss, tower_losses
from utils.geography.geodesy import haversine_km


def test_patch_loss_leaves_out_tokens_whose_ground_is_not_shown():
    torch.manual_seed(0)
    similarity, km = torch.randn(3, 4), np.array([[5.0, 90, 500, 700], [200, 100, 300, 400], [80, 10, 90, 20]])
    assert (km.min(1) < APART_KM).tolist() == [True, False, True]
    expected = []
    for row in (0, 2):
        target = np.exp(-km[row] / PATCH_KM) / np.exp(-km[row] / PATCH_KM).sum()
        expected.append(-(torch.log_softmax(similarity[row], 0).numpy() * target).sum())
    assert patch_loss(similarity, km).item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_tower_losses_fall_when_tokens_know_their_ground():
    """Tokens that encode their ground beat tokens that are the same anywhere; the head of `place` is blank in both."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    points = np.stack([rng.uniform(-50, 50, 9), rng.uniform(-180, 180, 9)], axis=1)
    poses = np.stack([rng.uniform(-45, 45, 9), rng.uniform(0.8, 1.25, 9)], axis=1)
    batch = Batch(np.empty((9, 0)), points, poses, np.empty((9, 0)), points + 0.05, [])
    grounds = np.concatenate([token_ground(points, poses), token_ground(points + 0.05, np.array([[0, 1.0]] * 9))])
    frequencies = torch.randn(3, 64, dtype=torch.float64) * 60
    phase = torch.from_numpy(grounds) @ frequencies
    knowing = torch.cat([phase.sin(), phase.cos()], dim=2).float()  # (18, 16, 128)
    heads = TowerHeads(128)
    with torch.no_grad():
        known = tower_losses(heads, knowing, batch, points)
        blank = tower_losses(heads, torch.ones(18, 16, 128), batch, points)
    assert known[0] < 0.5 * blank[0]
    assert known[2] < blank[2] - 1
    assert known[3] < 0.5 * blank[3]
    assert blank[0].item() == pytest.approx(np.log(9), rel=1e-3)
    assert blank[2].item() == pytest.approx(np.log(9 * 16), rel=1e-3)
    km = haversine_km(*points.T[:, :, None], *(points + 0.05).T[:, None, :])
    assert soft_contrastive(torch.zeros(9, 9), km, 30.0).item() == pytest.approx(blank[3].item(), rel=1e-3)
