from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import Qwen2VLForConditionalGeneration

from earth.lvlm import language_data
from earth.lvlm.language_data import REGION, PhotoGroups, Tokens, draw_guess, embeddings, image_tokens
from earth.lvlm.tiles import use_tile_attention
from earth.recipe import TOPK, TOPN
from tests.earth.pretraining import BASE
from utils.candidates import NUM_NEGATIVES
from utils.geography.geodesy import EARTH_RADIUS_KM, haversine_km

PLACES, TILES, VIEWS, HIDDEN = 40, 450, 2, 12


def number(image_id: str) -> int:
    return int(image_id.split()[1])


def cosines_by_loops(groups: PhotoGroups, photo: int, tile: int) -> np.ndarray:
    """(photo's tokens, tile's tokens)."""
    a, b = groups.photo_tokens[photo].astype(float), groups.tile_tokens[tile].astype(float)
    return np.array([[x @ y / np.linalg.norm(x) / np.linalg.norm(y) for y in b] for x in a])


@pytest.fixture(scope="module")
def groups() -> PhotoGroups:
    """40 pretraining places and a gallery of 450 tiles, whose places are photographed as well."""
    rng = np.random.default_rng(0)
    points = np.stack([rng.uniform(-60, 80, PLACES + TILES), rng.uniform(-180, 180, PLACES + TILES)], axis=1).round(2)
    tiles = rng.normal(size=(TILES, 16, HIDDEN)).astype(np.float16)
    photos = rng.normal(size=((PLACES + TILES) * VIEWS, 16, HIDDEN)).astype(np.float16)
    # A photo of a tile's own place looks like that tile: retrieval puts it first.
    photos[PLACES * VIEWS :] = tiles.repeat(VIEWS, axis=0)
    data = SimpleNamespace(
        points=points,
        tile_points=points[PLACES:],
        texts=[(f"town {tile}",) for tile in range(TILES)],
        photos=np.empty((PLACES + TILES, VIEWS)),
    )
    assert TILES > REGION > TOPK
    return PhotoGroups(data, photos, tiles, size=10, guesses=3)


def test_tokens_are_kept_for_one_tower_and_the_same_pictures(tmp_path, monkeypatch):
    model = Qwen2VLForConditionalGeneration.from_pretrained(BASE, dtype=torch.float32)
    use_tile_attention(model)
    pictures = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    first = image_tokens(model, pictures, tmp_path / "tokens.npy")
    assert first.shape == (3, 16, model.config.text_config.hidden_size)
    others = image_tokens(model, pictures[::-1], tmp_path / "tokens.npy")
    np.testing.assert_allclose(others, first[::-1], atol=0.05)
    with torch.no_grad():
        model.model.visual.patch_embed.proj.weight.mul_(2)
    assert not np.array_equal(image_tokens(model, pictures, tmp_path / "tokens.npy"), first)
    with torch.no_grad():
        model.model.visual.patch_embed.proj.weight.div_(2)
    monkeypatch.setattr(language_data, "encode_tiles", None)
    assert np.array_equal(image_tokens(model, pictures, tmp_path / "tokens.npy"), first)


def test_a_photo_never_meets_the_tile_of_its_own_place(groups):
    rng = np.random.default_rng(0)
    drawn = [groups.draw(rng, with_negatives=True, with_texts=True) for _ in range(300)]
    owners = 0
    for group in drawn:
        own = groups.photo_own[number(group.query.image)]
        shown = [number(candidate.image) for candidate in group.query.candidates if candidate.image]
        owners += own >= 0
        assert own not in shown
        assert len(set(shown)) == len(shown) == 7
        assert own not in groups.found[number(group.query.image)]
    assert owners > 200


def test_a_group_is_what_a_ranker_meets(groups):
    rng = np.random.default_rng(1)
    hard = 0
    for _ in range(200):
        group = groups.draw(rng, with_negatives=True, with_texts=True)
        photo, candidates = number(group.query.image), group.query.candidates
        truth = groups.photo_points[photo]
        assert (group.query.latitude, group.query.longitude) == tuple(truth)
        found = groups.found[photo].tolist()
        assert [number(negative.image) for negative in group.query.negatives] == found[-NUM_NEGATIVES:]
        retrieved = sum(number(candidate.image) in found for candidate in candidates[:7])
        assert retrieved >= 3
        hard += retrieved >= 6
        assert len(candidates) == 10
        assert [candidate.image for candidate in candidates[7:]] == [None] * 3
        assert len(set(candidates[7:])) > 1  # the nearest ones may round to the same
        assert group.similarity.shape == (7, 2)
        expected = [haversine_km(*truth, candidate.latitude, candidate.longitude) for candidate in candidates]
        assert group.km == pytest.approx(expected)
        assert group.places.tolist() == [[candidate.latitude, candidate.longitude] for candidate in candidates]
        first = number(candidates[0].image)
        cosine, late = group.similarity[0]
        assert cosine == pytest.approx(groups.photos[photo] @ groups.tiles[first], abs=1e-5)
        cosines = cosines_by_loops(groups, photo, first)
        assert late == pytest.approx((cosines.max(0).mean() + cosines.max(1).mean()) / 2, abs=1e-5)
        np.testing.assert_allclose(group.match[0], cosines.T, atol=1e-5)
        corners = group.token_km[0, [0, 3, 12, 15]]
        through_the_earth = 2 * EARTH_RADIUS_KM * np.sin(group.km[0] / 2 / EARTH_RADIUS_KM)
        assert abs(corners - through_the_earth).max() < 192  # from the middle of a tile to that of its corner token
        assert corners.std() > 0
    assert 140 <= hard <= 180  # four of five


def test_draws_are_fixed_by_their_generator_and_kinds(groups):
    same = [groups.draw(np.random.default_rng(5), False, False).query for _ in range(2)]
    assert same[0] == same[1]
    assert same[0].negatives == ()
    assert all(candidate.texts == () for candidate in same[0].candidates)


def test_guesses_lie_where_they_should():
    rng = np.random.default_rng(0)
    km = [haversine_km(89.9, 12.0, *draw_guess(np.array([89.9, 12.0]), rng)) for _ in range(400)]
    assert 0 <= min(km) < 20
    assert 5000 < max(km) < 8020
    assert 200 < np.median(km) < 400  # the geometric mean of 10 and 8,000 is 283


def test_tokens_are_found_by_kind_and_number():
    photos, tiles = np.random.default_rng(0).normal(size=(2, 3, 16, HIDDEN)).astype(np.float16)
    tokens = Tokens(photos, tiles)
    assert len(tokens) == 6
    assert list(tokens)[4] == "tile 1"
    assert torch.equal(tokens["tile 1"].features[0], torch.from_numpy(tiles[1]))
    assert tokens["photo 2"].grid_thw.tolist() == [1, 8, 8]


def test_embeddings_are_mean_tokens_of_length_one():
    tokens = np.random.default_rng(0).normal(size=(5, 16, HIDDEN)).astype(np.float16)
    expected = torch.nn.functional.normalize(torch.from_numpy(tokens).float().mean(1), dim=1).numpy()
    np.testing.assert_allclose(embeddings(tokens), expected, atol=1e-6)


def test_candidates_that_evaluation_ranks_are_not_its_negatives():
    assert TOPN < TOPK - NUM_NEGATIVES
