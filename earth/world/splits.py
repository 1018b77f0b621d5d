"""The gallery and the splits of query photos: pictures of centres that no two of them share, and their files."""

import io
import logging
import multiprocessing
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from multiprocessing.pool import Pool
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from earth.recipe import CALIBRATION_SPLITS, SPLITS, STREAMS
from earth.world import places, views
from earth.world.imagery import load_earth
from utils.geography.gazetteer import TEXT_COLUMNS, Gazetteer
from utils.jobs.files import atomic_path
from utils.jobs.progress import progress_bar
from utils.photos.tar_index_pickle import write_tar_index

logger = logging.getLogger(__name__)

CHUNK = 64  # places a worker draws at a time


@dataclass(frozen=True)
class Shot:
    """One picture to take: ``is_photo`` says which of the two looks, ``seed`` what is random about it."""

    lat: float
    lon: float
    is_photo: bool
    seed: tuple[int, ...]


def take(shot: Shot) -> bytes | None:
    """The JPEG of a shot, or None where the clean tile shows nothing to recognise."""
    earth = load_earth()
    tile = earth.tile(shot.lat, shot.lon)
    if views.is_flat(tile):
        return None
    if shot.is_photo:
        rng = np.random.default_rng(shot.seed)
        tile = views.photo(earth, shot.lat, shot.lon, views.draw_pose(rng), rng)
    file = io.BytesIO()
    Image.fromarray(tile).save(file, "JPEG", quality=95, subsampling=0)
    return file.getvalue()


def shots(
    town_points: np.ndarray, stream: int, seed: int, taken: set[tuple[float, float]], is_photo: bool
) -> Iterator[Shot]:
    """Endless shots of one split at centres that are not in ``taken``; each new centre is added to it."""
    rng = np.random.default_rng((seed, stream))
    for number, centre in enumerate(places.centres(load_earth(), town_points, rng)):
        if centre not in taken:
            taken.add(centre)
            yield Shot(*centre, is_photo=is_photo, seed=(seed, stream, number))


def draw(
    pool: Pool, workers: int, source: Iterator[Shot], taken: set[tuple[float, float]], size: int, label: str
) -> tuple[list[tuple[float, float]], list[bytes]]:
    """Centres and JPEGs of the first ``size`` shots of ``source`` that show something; the others leave ``taken``."""
    centres, pictures = [], []
    with progress_bar(total=size, desc=label, unit="tile") as progress:
        while len(pictures) < size:
            batch = list(islice(source, CHUNK * workers))
            for shot, picture in zip(batch, pool.map(take, batch, chunksize=CHUNK // 4), strict=True):
                if picture is None or len(pictures) == size:
                    taken.discard((shot.lat, shot.lon))
                    continue
                centres.append((shot.lat, shot.lon))
                pictures.append(picture)
                progress.update()
    return centres, pictures


def read_centres(folder: Path) -> Iterator[tuple[float, float]]:
    """Centres of a split that is complete."""
    return pd.read_csv(folder / "metadata.csv", usecols=["LAT", "LON"]).itertuples(index=False, name=None)


def write_metadata(path: Path, ids: list[str], centres: np.ndarray) -> None:
    """Write IMG_ID, LAT, LON and the names of the nearest place as the metadata CSV of the released gallery."""
    names = Gazetteer().lookup(centres[:, 0], centres[:, 1])[list(TEXT_COLUMNS)]
    table = pd.DataFrame({"IMG_ID": ids, "LAT": centres[:, 0], "LON": centres[:, 1]})
    with atomic_path(path) as temporary:
        table.join(names).to_csv(temporary, index=False)


def write_gallery(folder: Path, ids: list[str], pictures: list[bytes]) -> None:
    """Write images.tar and its index, tar_index.pkl."""
    with atomic_path(folder / "images.tar") as temporary, tarfile.open(temporary, "w") as tar:
        for name, picture in zip(ids, pictures, strict=True):
            member = tarfile.TarInfo(name)
            member.size = len(picture)
            tar.addfile(member, io.BytesIO(picture))
    write_tar_index(folder / "images.tar", folder / "tar_index.pkl")


def write_photos(folder: Path, ids: list[str], pictures: list[bytes]) -> None:
    """Write the photos into the folder images."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for name, picture in zip(ids, pictures, strict=True):
        (folder / "images" / name).write_bytes(picture)


def known_centres(output_dir: Path, sizes: Mapping[str, int]) -> set[tuple[float, float]]:
    """Centres of all splits that are complete, whether in ``sizes`` (split -> pictures) or not.

    Raises ``ValueError`` where a split is there in another size.
    """
    known: set[tuple[float, float]] = set()
    for split in STREAMS:
        folder = output_dir / split
        if not (folder / "metadata.csv").exists():
            continue
        centres = list(read_centres(folder))
        if len(centres) != sizes.get(split, len(centres)):
            if split in CALIBRATION_SPLITS:
                remove = " and ".join(str(output_dir / one) for one in CALIBRATION_SPLITS)
            else:
                remove = str(output_dir)
            raise ValueError(f"{folder} has {len(centres)} pictures, not {sizes[split]}: remove {remove}")
        known.update(centres)
    return known


def build(
    output_dir: Path,
    sizes: tuple[int, ...],
    seed: int,
    workers: int,
    calibration_sizes: tuple[int, int] | None = None,
) -> None:
    """Write every split that ``output_dir`` lacks; a split is complete once its metadata.csv, written last, exists.

    :param sizes: pictures of each of ``SPLITS``.
    :param calibration_sizes: pictures of each of ``CALIBRATION_SPLITS``. Without, they are neither built nor removed;
        built later, they are the same as if built at once.

    Raises ``ValueError`` where a split is there in another size.
    """
    wanted = dict(zip(SPLITS, sizes, strict=True))
    if calibration_sizes is not None:
        wanted |= zip(CALIBRATION_SPLITS, calibration_sizes, strict=True)
    # Of all splits before any is drawn: whichever is missing, it shares no centre with the others.
    taken = known_centres(output_dir, wanted)
    earth = load_earth()  # before the workers fork, so that they share it
    town_points = places.towns(earth, np.random.default_rng(seed))
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        for split, size in wanted.items():
            folder = output_dir / split
            if (folder / "metadata.csv").exists():
                logger.info("%s: there already", folder)
                continue
            source = shots(town_points, STREAMS[split], seed, taken, is_photo=split != "gallery")
            centres, pictures = draw(pool, workers, source, taken, size, split)
            ids = [f"{split}_{i:06d}.jpg" for i in range(size)]
            (write_gallery if split == "gallery" else write_photos)(folder, ids, pictures)
            write_metadata(folder / "metadata.csv", ids, np.array(centres))
