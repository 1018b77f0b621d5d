import numpy as np
import pytest
import torch
from geopy.distance import great_circle
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from earth.lvlm.model import image_processor
from earth.lvlm.tiles import encode_tiles, ground_km, late_interaction, patches, token_ground, use_tile_attention
from earth.recipe import GRID
from earth.world.imagery import FOOTPRINT_KM
from utils.geography.geodesy import EARTH_RADIUS_KM, haversine_km, unit_vectors


def test_patches_are_those_of_the_image_processor(tiles):
    processor = image_processor()
    expected = processor(images=[Image.fromarray(tile) for tile in tiles], return_tensors="pt")
    assert expected["image_grid_thw"].tolist() == [[1, 8, 8]] * len(tiles)
    found = patches(tiles, processor.image_mean, processor.image_std)
    torch.testing.assert_close(found, expected["pixel_values"].float(), atol=1e-5, rtol=0)


def test_tile_attention_is_the_stock_towers(model, tiles):
    processor = image_processor()
    pixels = patches(tiles, processor.image_mean, processor.image_std)
    model.set_attn_implementation({"vision_config": "sdpa"})
    with torch.no_grad():
        stock = model.model.get_image_features(pixels, torch.tensor([[1, 8, 8]] * len(tiles))).pooler_output
        use_tile_attention(model)
        torch.testing.assert_close(encode_tiles(model, tiles), torch.stack(stock), atol=1e-5, rtol=0)


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


def test_late_interaction_against_loops():
    similarity = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    found = late_interaction(torch.from_numpy(similarity))
    for i in range(2):
        for j in range(4):
            there = np.mean([max(similarity[i, a, j]) for a in range(3)])
            back = np.mean([max(similarity[i, :, j, b]) for b in range(5)])
            assert found[i, j].item() == pytest.approx((there + back) / 2)
