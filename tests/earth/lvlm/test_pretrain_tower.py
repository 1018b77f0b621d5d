import numpy as np
import pytest
import torch
from geopy.distance import great_circle
from hypothesis import given, settings
from hypothesis import strategies as st

from earth.lvlm.contrast import soft_contrastive
from earth.lvlm.pretrain_data import Batch
from earth.lvlm.pretrain_tower import (
    APART_KM,
    GRID,
    PATCH_KM,
    Heads,
    ground_km,
    late_interaction,
    main,
    patch_loss,
    token_ground,
    tower_losses,
)
from earth.world.imagery import FOOTPRINT_KM
from tests.earth.pretraining import check_learning, later_stage, runner
from utils.geography.geodesy import EARTH_RADIUS_KM, haversine_km, unit_vectors


@given(lat=st.floats(-80, 80), lon=st.floats(-180, 180), heading=st.floats(-45, 45), scale=st.floats(0.7, 1.3))
@settings(deadline=None, max_examples=50)
def test_tokens_show_the_ground_that_geopy_finds_in_their_direction(lat, lon, heading, scale):
    found = token_ground(np.array([[lat, lon]]), np.array([[heading, scale]]))[0]
    step = FOOTPRINT_KM * scale / GRID
    for row in range(GRID):
        for column in range(GRID):
            right, up = (column - 1.5) * step, (1.5 - row) * step
            place = great_circle(kilometers=np.hypot(right, up), radius=EARTH_RADIUS_KM).destination(
                (lat, lon), bearing=heading + np.degrees(np.arctan2(right, up))
            )
            np.testing.assert_allclose(
                found[row * GRID + column], unit_vectors(place.latitude, place.longitude), atol=1e-6
            )


def test_ground_km_is_the_distance_on_the_sphere():
    rng = np.random.default_rng(0)
    a = np.stack([rng.uniform(-60, 80, 5), rng.uniform(-180, 180, 5)], axis=1)
    b = a + rng.uniform(-2, 2, (5, 2))
    found = np.diag(ground_km(unit_vectors(*a.T), unit_vectors(*b.T)))
    np.testing.assert_allclose(found, haversine_km(*a.T, *b.T), rtol=1e-3)


def test_patch_loss_leaves_out_tokens_whose_ground_is_not_shown():
    torch.manual_seed(0)
    similarity, km = torch.randn(3, 4), np.array([[5.0, 90, 500, 700], [200, 100, 300, 400], [80, 10, 90, 20]])
    assert (km.min(1) < APART_KM).tolist() == [True, False, True]
    expected = []
    for row in (0, 2):
        target = np.exp(-km[row] / PATCH_KM) / np.exp(-km[row] / PATCH_KM).sum()
        expected.append(-(torch.log_softmax(similarity[row], 0).numpy() * target).sum())
    assert patch_loss(similarity, km).item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_late_interaction_against_loops():
    similarity = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    found = late_interaction(torch.from_numpy(similarity))
    for i in range(2):
        for j in range(4):
            there = np.mean([max(similarity[i, a, j]) for a in range(3)])
            back = np.mean([max(similarity[i, :, j, b]) for b in range(5)])
            assert found[i, j].item() == pytest.approx((there + back) / 2)


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
    heads = Heads(128)
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


def test_only_the_tower_learns_and_a_resumed_run_ends_where_a_whole_one_does(monkeypatch, world, capsys):
    run = runner(monkeypatch, main, world, *later_stage(world), "--batch_size", "9")
    check_learning(monkeypatch, run, lambda name: "visual" in name)
    assert "validation: nearest" in capsys.readouterr().out


def test_small_batches_are_refused(monkeypatch, world):
    with pytest.raises(SystemExit):
        runner(monkeypatch, main, world, *later_stage(world))("none", "--batch_size", "8")
