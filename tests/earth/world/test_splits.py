import hashlib
import io
import shutil
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from earth.recipe import CALIBRATION_SPLITS, SPLITS, STREAMS, TILE_PIXELS
from earth.world import places, splits, views
from earth.world.imagery import load_earth
from utils.geography.geodesy import haversine_km
from utils.photos.store import ImageStore
from utils.tables.metadata import metadata_problems, read_metadata

SIZES = (90, 40, 30, 20, 20)
CALIBRATION_SIZES = (12, 8)


def digests(folder: Path) -> dict[str, str]:
    # Without the index that reading the gallery leaves beside it.
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".index")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("earth")
    splits.build(folder, SIZES, seed=3, workers=2)
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The same world with its calibration splits, built at once."""
    folder = tmp_path_factory.mktemp("whole")
    splits.build(folder, SIZES, seed=3, workers=2, calibration_sizes=CALIBRATION_SIZES)
    return folder


def test_splits_have_their_sizes_and_share_no_centre(whole):
    centres = []
    sizes = (*SIZES, *CALIBRATION_SIZES)
    for split, size in zip((*SPLITS, *CALIBRATION_SPLITS), sizes, strict=True):
        metadata = read_metadata(whole / split / "metadata.csv")
        assert len(metadata) == size
        assert metadata_problems(whole / split / "metadata.csv", metadata) == []
        assert (metadata["country"] != "").mean() > 0.95
        centres += list(metadata[["LAT", "LON"]].itertuples(index=False, name=None))
    assert len(set(centres)) == len(centres) == sum(sizes)
    assert all(lat == round(lat, places.DECIMALS) for lat, _ in centres)


def test_gallery_tiles_are_the_clean_view_of_their_coordinates(world):
    metadata = read_metadata(world / "gallery" / "metadata.csv")
    store = ImageStore.from_paths([world / "gallery" / "images.tar"])
    for row in metadata.head(10).itertuples():
        shown = np.asarray(store.open(row.IMG_ID)).astype(float)
        assert np.abs(shown - load_earth().tile(row.LAT, row.LON)).mean() < 3  # JPEG


def test_photos_differ_from_the_clean_view(world):
    metadata = read_metadata(world / "test" / "metadata.csv")
    store = ImageStore.from_paths([world / "test" / "images"])
    for row in metadata.itertuples():
        photo = store.open(row.IMG_ID)
        assert photo.size == (TILE_PIXELS, TILE_PIXELS)
        assert np.abs(np.asarray(photo).astype(float) - load_earth().tile(row.LAT, row.LON)).mean() > 5


def test_same_seed_same_bytes_whatever_the_number_of_workers(world, tmp_path):
    splits.build(tmp_path, SIZES, seed=3, workers=1)
    assert digests(tmp_path) == digests(world)


def test_another_seed_is_another_world(world, tmp_path):
    splits.build(tmp_path, SIZES, seed=4, workers=2)
    assert not set(digests(tmp_path).values()) & set(digests(world).values())


def test_interrupted_build_goes_on_to_the_same_world(world, tmp_path):
    copy = shutil.copytree(world, tmp_path / "copy")
    for split in ("train", "val", "test"):
        (copy / split / "metadata.csv").unlink()
    shutil.rmtree(copy / "val")
    splits.build(copy, SIZES, seed=3, workers=2)
    assert digests(copy) == digests(world)


def test_calibration_splits_are_built_on_demand_and_change_no_other(world, whole):
    assert not any((world / split).exists() for split in CALIBRATION_SPLITS)
    others = {name: digest for name, digest in digests(whole).items() if name.split("/")[0] in SPLITS}
    assert others == digests(world)


def test_calibration_splits_are_the_same_when_built_later_or_again(world, whole, tmp_path):
    copy = shutil.copytree(world, tmp_path / "copy")
    splits.build(copy, SIZES, seed=3, workers=1, calibration_sizes=CALIBRATION_SIZES)
    assert digests(copy) == digests(whole)
    shutil.rmtree(copy / "calibration")
    splits.build(copy, SIZES, seed=3, workers=2, calibration_sizes=CALIBRATION_SIZES)
    assert digests(copy) == digests(whole)


@pytest.mark.parametrize("calibration_sizes", [None, CALIBRATION_SIZES])
def test_a_new_split_shares_no_centre_with_the_calibration_splits(whole, tmp_path, monkeypatch, calibration_sizes):
    copy = shutil.copytree(whole, tmp_path / "copy")
    shutil.rmtree(copy / "test")
    theirs = [centre for split in CALIBRATION_SPLITS for centre in splits.read_centres(copy / split)]
    centres = places.centres
    monkeypatch.setattr(places, "centres", lambda *arguments: chain(theirs, centres(*arguments)))
    splits.build(copy, SIZES, seed=3, workers=1, calibration_sizes=calibration_sizes)
    assert not set(splits.read_centres(copy / "test")) & set(theirs)


def test_a_calibration_split_shares_no_centre_with_the_others(world, tmp_path, monkeypatch):
    copy = shutil.copytree(world, tmp_path / "copy")
    theirs = [centre for split in SPLITS for centre in splits.read_centres(copy / split)]
    centres = places.centres
    monkeypatch.setattr(places, "centres", lambda *arguments: chain(theirs, centres(*arguments)))
    splits.build(copy, SIZES, seed=3, workers=1, calibration_sizes=CALIBRATION_SIZES)
    for split in CALIBRATION_SPLITS:
        assert not set(splits.read_centres(copy / split)) & set(theirs)


def test_a_new_gallery_shares_no_centre_with_the_splits_that_are_there(world, tmp_path, monkeypatch):
    copy = shutil.copytree(world, tmp_path / "copy")
    shutil.rmtree(copy / "gallery")
    theirs = [centre for split in SPLITS[1:] for centre in splits.read_centres(copy / split)]
    centres = places.centres
    monkeypatch.setattr(places, "centres", lambda *arguments: chain(theirs, centres(*arguments)))
    splits.build(copy, SIZES, seed=5, workers=1)
    assert not set(splits.read_centres(copy / "gallery")) & set(theirs)


def test_the_shipped_world_is_where_it_always_was():
    """The first centre of each split with seed 0: the shipped weights were trained and calibrated on these."""
    town_points = places.towns(load_earth(), np.random.default_rng(0))
    first = {split: next(splits.shots(town_points, stream, 0, set(), True)) for split, stream in STREAMS.items()}
    assert {split: (shot.lat, shot.lon) for split, shot in first.items()} == {
        "gallery": (15.91, 7.55),
        "pretrain": (28.05, 112.64),
        "train": (-14.84, 129.9),
        "val": (-10.59, -41.94),
        "test": (17.02, 36.15),
        "calibration": (14.73, -6.58),
        "check": (36.52, -93.56),
    }


def test_centres_gather_around_towns_on_land():
    earth, rng = load_earth(), np.random.default_rng(0)
    town_points = places.towns(earth, rng)
    assert town_points.shape == (places.NUM_TOWNS, 2)
    source = places.centres(earth, town_points, rng)
    found = np.array([next(source) for _ in range(1000)])
    assert earth.is_land(*found.T).all()
    assert (np.abs(found[:, 1]) <= 180).all()
    km = haversine_km(found[:, :1], found[:, 1:], *town_points.T).min(axis=1)
    assert (km < 60).mean() > 0.75
    assert (km > 60).sum() > 20


def test_flat_tiles_are_recognised():
    flat = np.full((TILE_PIXELS, TILE_PIXELS, 3), 90, dtype=np.uint8)
    assert views.is_flat(flat)
    assert not views.is_flat(load_earth().tile(46.0, 7.0))


def test_shot_of_open_ice_is_refused_and_of_a_coast_is_a_jpeg():
    assert splits.take(splits.Shot(75.0, -40.0, False, (0,))) is None
    taken = splits.take(splits.Shot(61.0, 6.0, True, (0,)))
    assert Image.open(io.BytesIO(taken)).format == "JPEG"


def test_a_split_of_another_size_is_refused(world):
    sizes = (SIZES[0] + 1, *SIZES[1:])
    with pytest.raises(ValueError, match=rf"gallery has {SIZES[0]} pictures, not {SIZES[0] + 1}"):
        splits.build(world, sizes, seed=3, workers=1)


def test_a_calibration_split_of_another_size_is_refused(whole):
    with pytest.raises(ValueError, match=r"check has 8 pictures, not 9: remove \S+calibration and \S+check$"):
        splits.build(whole, SIZES, seed=3, workers=1, calibration_sizes=(12, 9))
