"""Which photos are chosen, held against plain loops."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.geography.geodesy import haversine_km
from utils.photos.credit import Credit
from utils.tables.gallery_selection import Box, Chooser, Selection, cell
from utils.tables.imported_photo import ImportedPhoto

NOBODY = Credit("", "", "", "", "")


def photo(image_id, latitude=0.0, longitude=0.0, sequence=""):
    return ImportedPhoto(image_id, latitude, longitude, ("",) * 6, sequence, NOBODY)


def choose(photos, **selection):
    chooser = Chooser(Selection(**selection))
    for number, one in enumerate(photos):
        chooser.add(number, one)
    return chooser.choose()


one_photo = st.builds(
    photo, st.sampled_from("abcdefghij"), st.sampled_from([0, 50]), st.just(9), st.sampled_from(["", "s", "t"])
)


@settings(deadline=None)
@given(st.lists(one_photo, max_size=14), st.sampled_from([None, 1, 2]), st.booleans(), st.integers(0, 3))
def test_chosen_photos_are_as_many_as_they_may_be(photos, per_cell, one_per_sequence, seed):
    choice = choose(photos, per_cell=per_cell, one_per_sequence=one_per_sequence, seed=seed)
    first = {one.image_id: number for number, one in reversed(list(enumerate(photos)))}
    assert choice.again.tolist() == sorted(set(range(len(photos))) - set(first.values()))
    kept = [photos[number] for number in sorted(first.values())]
    sequences = Counter(one.sequence for one in kept if one.sequence)
    beyond = sum(count - 1 for count in sequences.values()) if one_per_sequence else 0
    assert choice.of_one_sequence == beyond
    chosen = [photos[number] for number in choice.chosen]
    assert choice.chosen.tolist() == sorted(choice.chosen)
    assert {one.image_id for one in chosen} <= set(first)
    assert len(chosen) == len({one.image_id for one in chosen}) == len(kept) - beyond - choice.beyond_cells
    if one_per_sequence:
        assert max(Counter(one.sequence for one in chosen if one.sequence).values(), default=0) <= 1
        if per_cell is None:
            assert {one.sequence for one in chosen} == {one.sequence for one in kept}
    if per_cell is not None:
        cells = Counter(one.latitude for one in chosen)
        assert max(cells.values(), default=0) <= per_cell
        if not one_per_sequence:
            assert cells == {
                place: min(count, per_cell) for place, count in Counter(one.latitude for one in kept).items()
            }


def test_the_choice_is_that_of_the_seed_and_not_of_the_order():
    photos = [photo(f"{number}.jpg", sequence=f"{number % 40}") for number in range(200)]
    how = {"per_cell": 20, "one_per_sequence": True}

    def ids(photos, seed):
        return {photos[number].image_id for number in choose(photos, seed=seed, **how).chosen}

    shuffled = [photos[number] for number in np.random.default_rng(0).permutation(200)]
    assert ids(photos, 1) == ids(shuffled, 1)
    assert ids(photos, 1) != ids(photos, 2)
    shares = np.array([list(choose(photos, seed=seed, per_cell=100).chosen) for seed in range(40)])
    assert abs(shares.mean() - 99.5) < 3  # none are favoured


@pytest.mark.parametrize("side", [0.5, 10.0, 700.0, 30_000.0])
def test_cells_are_about_as_large_everywhere(side):
    """Points of one cell are no further apart than its diagonal; there are as many cells as the Earth has room for."""
    random = np.random.default_rng(1)
    at = [(90, 0), (-90, 180), (0, 180), (0, -180), (48.85, 2.35), (-89.99, 77)]
    for latitude, longitude in at:
        near = np.stack(
            [
                np.clip(latitude + random.normal(0, side / 111, 300), -90, 90),
                (longitude + random.normal(0, side / 111, 300) + 180) % 360 - 180,
            ],
            axis=1,
        )
        cells = np.array([cell(*point, side) for point in near])
        for number in np.unique(cells)[:20]:
            inside = near[cells == number]
            apart = haversine_km(*inside[:, None].transpose(2, 0, 1), *inside.T)
            assert apart.max() <= 1.6 * side * 2**0.5
    if side == 700.0:
        z = random.uniform(-1, 1, 20_000)
        points = zip(np.degrees(np.arcsin(z)), random.uniform(-180, 180, len(z)), strict=True)
        found = len({cell(*point, side) for point in points})
        assert found == pytest.approx(510.07e6 / side**2, rel=0.05)  # km² of the Earth


def test_boxes():
    paris = Box(48.8, 2.2, 48.9, 2.5)
    assert (48.85, 2.35) in paris
    assert (48.8, 2.5) in paris
    assert (48.85, 2.51) not in paris
    assert (48.79, 2.35) not in paris
    fiji = Box(-21, 176, -12, -178)
    assert all((-17, longitude) in fiji for longitude in (177, 180, -180, -179))
    assert (-17, 0) not in fiji
    for wrong in ((2, 0, 1, 0), (-91, 0, 0, 0), (0, 0, 0, 181), (float("nan"), 0, 1, 1)):
        with pytest.raises(ValueError, match="a box is south, west, north and east in degrees"):
            Box(*wrong)
