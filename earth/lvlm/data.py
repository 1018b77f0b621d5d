"""What the tiny LVLM learns from: places, photographed anew several times, beside the clean tiles of the gallery."""

import multiprocessing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from earth.recipe import TILE_PIXELS
from earth.world import views
from earth.world.imagery import load_earth
from utils.candidates import Candidate, prompt_texts
from utils.geography.geodesy import unit_vectors
from utils.jobs.files import atomic_path
from utils.jobs.progress import progress_bar
from utils.photos.store import ImageStore
from utils.tables.metadata import read_metadata

NEAREST = 64  # neighbours of a place known by row; the first few are its references, the others hard negatives
REFERENCES = 4


@dataclass(frozen=True)
class Batch:
    """``n`` photos beside a reference tile each.

    photos, tiles: (n, TILE_PIXELS, TILE_PIXELS, 3) uint8; photo_points, tile_points: (n, 2) degrees;
    photo_poses: (n, 2) headings and scales; candidates: the places of the tiles, as a ranker would be asked about them.
    """

    photos: np.ndarray
    photo_points: np.ndarray
    photo_poses: np.ndarray
    tiles: np.ndarray
    tile_points: np.ndarray
    candidates: list[Candidate]


def take_photos(point: tuple[float, float], number: int, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """``count`` photos of one place, (count, TILE_PIXELS, TILE_PIXELS, 3) uint8, and their poses (count, 2).

    Both are fixed by place number and seed.
    """
    rng = np.random.default_rng((seed, number))
    photos, poses = [], []
    for _ in range(count):
        poses.append(views.draw_pose(rng))
        photos.append(views.photo(load_earth(), *point, poses[-1], rng))
    return np.stack(photos), np.array(poses)


def validation_photos(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Of the benchmark in ``folder``: pictures (n, TILE_PIXELS, TILE_PIXELS, 3) uint8, places (n, 2) degrees."""
    metadata = read_metadata(folder / "val" / "metadata.csv")
    store = ImageStore.from_paths([folder / "val" / "images"])
    pictures = np.stack([np.asarray(store.open(name)) for name in metadata["IMG_ID"]])
    return pictures, metadata[["LAT", "LON"]].to_numpy(float)


class PretrainData:
    """The places of the pretraining split and of the gallery, ``num_views`` photos of each, and the gallery's tiles."""

    def __init__(self, folder: Path, cache: Path, num_views: int, seed: int, workers: int) -> None:
        gallery, photos = (read_metadata(folder / split / "metadata.csv") for split in ("gallery", "pretrain"))
        store = ImageStore.from_paths([folder / "gallery" / "images.tar"])
        self.tiles = np.stack([np.asarray(store.open(name)) for name in gallery["IMG_ID"]])
        self.tile_points = gallery[["LAT", "LON"]].to_numpy(float)
        self.points = np.concatenate([photos[["LAT", "LON"]].to_numpy(float), self.tile_points])
        self.texts = [prompt_texts(row) for row in gallery.to_dict("records")]
        tree = cKDTree(unit_vectors(*self.tile_points.T))
        self.near_tiles = tree.query(unit_vectors(*self.points.T), k=REFERENCES)[1]  # (places, REFERENCES)
        tree = cKDTree(unit_vectors(*self.points.T))
        self.near_places = tree.query(unit_vectors(*self.points.T), k=NEAREST)[1]  # (places, NEAREST)
        self.photos, self.poses = self._load_photos(cache, num_views, seed, workers)

    def _load_photos(self, cache: Path, num_views: int, seed: int, workers: int) -> tuple[np.ndarray, np.ndarray]:
        """Photos (places, num_views, TILE_PIXELS, TILE_PIXELS, 3) uint8, mapped from ``cache``, and poses (..., 2).

        They are taken once; the poses lie beside the photos, with what both depend on, and are written first. Raises
        ``ValueError`` for photos of other places, of another seed or number.
        """
        shape = (len(self.points), num_views, TILE_PIXELS, TILE_PIXELS, 3)
        poses_cache = cache.with_name("poses.npz")
        if not (cache.exists() and poses_cache.exists()):
            load_earth()  # before the workers fork, so that they share it
            poses = np.empty((*shape[:2], 2))
            with (
                atomic_path(cache) as temporary,
                multiprocessing.get_context("fork").Pool(workers) as pool,
            ):
                photos = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
                jobs = pool.imap(
                    partial(_take, count=num_views, seed=seed), enumerate(self.points.tolist()), chunksize=64
                )
                for number, taken in enumerate(progress_bar(jobs, total=len(photos), desc="photos", unit="place")):
                    photos[number], poses[number] = taken
                photos.flush()
                with atomic_path(poses_cache) as temporary_poses, temporary_poses.open("wb") as file:
                    np.savez(file, poses=poses, points=self.points, seed=seed)
        photos, known = np.load(cache, mmap_mode="r"), np.load(poses_cache)
        if photos.shape != shape or known["seed"] != seed or not np.array_equal(known["points"], self.points):
            raise ValueError(
                f"{cache} holds photos of other places or {photos.shape[1]} views with seed {known['seed']}, not "
                f"{num_views} with seed {seed} of the places in the data: remove it, or name what it was made with"
            )
        return photos, known["poses"]

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        """A random batch; a quarter of it are neighbours of other places in it, the hard negatives."""
        drawn = rng.integers(len(self.points), size=size)
        hard = size // 4
        drawn[-hard:] = self.near_places[drawn[:hard], rng.integers(1, NEAREST, size=hard)]
        tile = self.near_tiles[drawn, rng.integers(REFERENCES, size=size)]
        points = self.tile_points[tile]
        view = rng.integers(self.photos.shape[1], size=size)
        return Batch(
            photos=self.photos[drawn, view],
            photo_points=self.points[drawn],
            photo_poses=self.poses[drawn, view],
            tiles=self.tiles[tile],
            tile_points=points,
            candidates=[
                Candidate(lat, lon, texts=self.texts[i], image="tile")
                for i, (lat, lon) in zip(tile, points.tolist(), strict=True)
            ],
        )


def _take(numbered_point: tuple[int, list[float]], count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    number, point = numbered_point
    return take_photos(tuple(point), number, count, seed)
