"""Earth's test queries with leaks planted among them, audited, and what was found of each kind."""

import argparse
import io
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageEnhance

from benchmarks.presets import GALLERY_PHOTOS, TEST_PHOTOS
from utils.data_paths import BENCHMARKS
from utils.jobs.files import write_json
from utils.photos.store import ImageStore
from utils.tables.metadata import read_metadata

EARTH = BENCHMARKS["earth"]
TRAIN_PHOTOS = Path("dataset/earth/train/images")
OWNER = r"(?:gallery|photo)_(\d{4})"  # each hundred of gallery tiles is somebody's
OWNERS, STRANGERS = 200, 800  # of the tiles, and of the queries that share none
PICTURES = 10  # that placeholders show
KEPT_QUALITY = 90  # JPEG quality of what is altered otherwise than by re-encoding
THRESHOLDS = (0.8, 0.85, 0.875, 0.9, 0.925, 0.95)

Alteration = Callable[[Image.Image, np.random.Generator], Image.Image]


# ---- alterations ----


def encoded(photo: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def reencoded(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    return encoded(photo, int(rng.integers(50, 91)))


def resized(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    factor = rng.uniform(0.5, 2)
    return photo.resize([round(side * factor) for side in photo.size], Image.Resampling.BICUBIC)


def cropped(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Up to a tenth of the width and of the height is gone, at either end or both."""
    width, height = (round(side * rng.uniform(0.9, 1)) for side in photo.size)
    left, top = rng.integers(0, photo.width - width + 1), rng.integers(0, photo.height - height + 1)
    return photo.crop((left, top, left + width, top + height))


def brightened(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    return ImageEnhance.Brightness(photo).enhance(rng.uniform(0.9, 1.1))


def altered(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    """All of them, one after the other."""
    return reencoded(brightened(resized(cropped(photo, rng), rng), rng), rng)


ALTERATIONS: dict[str, Alteration] = {
    "re-encoded": reencoded,
    "resized": lambda photo, rng: encoded(resized(photo, rng), KEPT_QUALITY),
    "cropped": lambda photo, rng: encoded(cropped(photo, rng), KEPT_QUALITY),
    "brightness": lambda photo, rng: encoded(brightened(photo, rng), KEPT_QUALITY),
    "all four": altered,
}


def placeholder(number: int) -> Image.Image:
    """A drawn notice, as a site shows it in place of a photo."""
    picture = Image.new("RGB", (240, 180), tuple(np.random.default_rng(number).integers(150, 256, 3).tolist()))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((20, 40 + 4 * number, 220, 140), outline=(90, 90, 90), width=2)
    draw.text((30, 60 + 4 * number), f"This photo is\nno longer available\n{number}", fill=(60, 60, 60), font_size=18)
    return picture


# ---- planting ----


@dataclass(frozen=True)
class Planted:
    """A query of the planted benchmark."""

    name: str
    kind: str  # "clean", or what was planted
    gallery_id: str = ""  # of the near-duplicate's original


def plant(folder: Path, each: int, seed: int) -> list[Planted]:
    """Write photos and ``queries.csv`` into ``folder``: Earth's test queries, and ``each`` leaks of every kind."""
    rng = np.random.default_rng(seed)
    tiles = read_metadata(EARTH.gallery_metadata)["IMG_ID"].tolist()
    gallery = ImageStore.from_paths([GALLERY_PHOTOS])
    test, train = (sorted(path.iterdir()) for path in (TEST_PHOTOS, TRAIN_PHOTOS))
    (folder / "photos").mkdir()
    queries = []

    def add(kind: str, data: bytes, owner: int, name: str | None = None, gallery_id: str = "") -> None:
        name = name or f"photo_{owner:04}{len(queries):05}.jpg"
        (folder / "photos" / name).write_bytes(data)
        queries.append(Planted(name, kind, gallery_id))

    def stranger() -> int:
        return OWNERS + int(rng.integers(STRANGERS))

    for path in test:
        add("clean", path.read_bytes(), stranger())
    others = iter(rng.permutation(len(train)))
    for number in rng.choice(len(tiles), each, replace=False):
        add("same_id", train[next(others)].read_bytes(), 0, tiles[number])
    for _ in range(each):
        add("same_owner", train[next(others)].read_bytes(), int(rng.integers(OWNERS)))
    for kind, alteration in ALTERATIONS.items():
        for number in rng.choice(len(tiles), each, replace=False):
            photo = alteration(gallery.open(tiles[number]), rng)
            add(kind, saved(photo), stranger(), gallery_id=tiles[number])
    for number in range(each):
        add("placeholder", saved(altered(placeholder(number % PICTURES), rng)), stranger())
    pd.DataFrame({"IMG_ID": [query.name for query in queries], "LAT": 0.0, "LON": 0.0}).to_csv(
        folder / "queries.csv", index=False
    )
    return queries


def saved(photo: Image.Image) -> bytes:
    """A photo as a file without further loss."""
    buffer = io.BytesIO()
    photo.save(buffer, "PNG")
    return buffer.getvalue()


# ---- what was found ----


@dataclass(frozen=True)
class Score:
    """How many leaks of a kind there are, were found, and how many rows were given beside them."""

    kind: str
    planted: int
    found: int
    rows: int  # about the kind's queries and the clean ones

    def line(self) -> str:
        precision = f"{100 * self.found / self.rows:6.1f}%" if self.rows else "     -"
        return f"{self.kind:<24}{self.planted:>8}{100 * self.found / self.planted:>8.1f}%  {precision:>10}"


def scores(queries: list[Planted], table: pd.DataFrame, least: float) -> Iterator[Score]:
    """What the rows of a table of leaks say of each kind, with near-duplicates of at least that likeness."""
    kinds = {query.name: query.kind for query in queries}
    originals = {query.name: query.gallery_id for query in queries}
    table = table[(table["reason"] != "near_duplicate") | (table["likeness"] >= least)]
    kind = table["IMG_ID"].map(kinds)
    for name in dict.fromkeys(kinds.values()):
        if name == "clean":
            continue
        reason = name if name not in ALTERATIONS else "near_duplicate"
        # Who has the id of a tile is its owner's, too.
        right = [name, "same_id"] if reason == "same_owner" else [name]
        rows = table[(table["reason"] == reason) & kind.isin(["clean", *right])]
        count = sum(value in right for value in kinds.values())
        yield Score(name, count, int(rows["IMG_ID"].map(kinds).isin(right).sum()), len(rows))
        if name in ALTERATIONS:
            originals_found = int((rows["gallery_id"] == rows["IMG_ID"].map(originals)).sum())
            yield Score(f"{name}, its own tile", count, originals_found, len(rows))


def measure(args: argparse.Namespace) -> list[str]:
    """Plant, audit, print and write recall and precision. Returns no problems."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        queries = plant(folder, args.planted, args.seed)
        command = ["--queries", folder / "queries.csv", "--image_path", folder / "photos"]
        command += ["--index", args.index] if args.index else ["--gallery", EARTH.gallery_metadata]
        command += ["--image_data_path", GALLERY_PHOTOS, "--owner", OWNER, "--likeness", args.likeness]
        command += ["--hashes", args.hashes, "--output", folder / "leaks.csv", "--num_workers", args.num_workers]
        command += ["--quiet"] if args.quiet else []
        subprocess.run([sys.executable, "-m", "tools.audit_benchmark", *map(str, command)], check=True)
        table = pd.read_csv(folder / "leaks.csv", keep_default_na=False, na_values={"likeness": [""]})
    results = {}
    for least in [args.likeness, *(value for value in THRESHOLDS if value > args.likeness and args.sweep)]:
        found = list(scores(queries, table, least))
        print(
            f"\nseed {args.seed}, likeness {least}", f"{'':<24}{'planted':>8}{'recall':>9}  {'precision':>10}", sep="\n"
        )
        print(*(score.line() for score in found), sep="\n")
        results[str(least)] = [vars(score) for score in found]
    if args.output is not None:
        write_json(args.output, {"seed": args.seed, "queries": len(queries), "scores": results})
    return []
