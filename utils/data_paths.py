"""Where the files of the known benchmarks lie, relative to the checkout, and where the published ones come from.

Nothing here downloads: a script that lacks files names all of them, and the commands that fetch them. What the
sources hold could not be looked up when this was written; dataset/README.md says what each line rests on.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PUBLISHED_BASE = "Qwen/Qwen2-VL-7B-Instruct"
PUBLISHED_ROWS = "dataset/georanking"
PUBLISHED_PHOTOS = "dataset/mp16-pro/mp-16-images.tar"  # of the gallery and of the training queries
PUBLISHED_METADATA = "dataset/mp16-pro/MP16_Pro_filtered.csv"  # the table that I.npy counts in
FLICKR_OWNER = r"(\d+@N\d+)"  # in an IMG_ID of theirs


EARTH_SPLITS = ("val", "test", "calibration", "check")  # whose queries are evaluated
REPORTED_SPLITS = ("test", "check")  # no choice is made and nothing is fitted on these


@dataclass(frozen=True)
class Benchmark:
    """Default paths; ``{split}`` stands for one of ``EARTH_SPLITS`` where a benchmark has splits."""

    candidates: str  # candidate table
    image_path: str  # folder of the query photos
    image_data_path: str  # tar of the gallery photos, its index beside it
    model: str = PUBLISHED_BASE  # base model: hub name or folder
    model_path: str | None = None  # adapter folder, where one is shipped
    vote_calibration: str | None = None  # file of utils/vote_calibration.py, where one is shipped
    gallery_metadata: str | None = None
    gallery_index: str | None = None  # index folder
    train_metadata: tuple[str, ...] = ()
    areas: str | None = None  # table with the areas that the query photos lie in, as OSV-5M has them


BENCHMARKS = {
    "im2gps3k": Benchmark(
        candidates="dataset/im2gps3k/im2gps3k.csv",
        image_path="dataset/im2gps3k/im2gps3ktest",
        image_data_path=PUBLISHED_PHOTOS,
    ),
    "yfcc4k": Benchmark(
        candidates="dataset/yfcc4k/yfcc4k.csv",
        image_path="dataset/yfcc4k/yfcc4k",
        image_data_path=PUBLISHED_PHOTOS,
    ),
    "osv5m": Benchmark(
        candidates="dataset/osv5m/test/candidates.csv",
        image_path="dataset/osv5m/images/test",
        image_data_path="dataset/osv5m/images/train",
        gallery_metadata="dataset/osv5m/train/metadata.csv",
        gallery_index="dataset/osv5m/index",
        areas="dataset/osv5m/test.csv",
    ),
    "earth": Benchmark(
        candidates="dataset/earth/{split}/candidates.csv",
        image_path="dataset/earth/{split}/images",
        image_data_path="dataset/earth/gallery/images.tar",
        model="checkpoints/earth-base",
        model_path="checkpoints/earth",
        vote_calibration="checkpoints/earth-consensus.json",
        gallery_metadata="dataset/earth/gallery/metadata.csv",
        gallery_index="dataset/earth/gallery/index",
        # Pretraining takes photos of the gallery's places, too.
        train_metadata=tuple(f"dataset/earth/{split}/metadata.csv" for split in ("pretrain", "train", "gallery")),
    ),
}


@dataclass(frozen=True)
class Source:
    """What a file is, and how to get it: commands for the root of the checkout. ``{folder}`` is its folder in both."""

    what: str
    fetch: tuple[str, ...]


# The released tables, index arrays, training rows and adapter are files of that repository.
CLONE = "git clone https://github.com/Applied-Machine-Learning-Lab/GeoRanker published"

LOGIN = "hf auth login   # accept the terms of huggingface.co/datasets/Jia-py/MP16-Pro before"


def _table(name: str) -> tuple[str, ...]:
    return CLONE, f"mkdir -p {{folder}} && cp -n published/dataset/{name}/* {{folder}}/"


def _coordinates(name: str) -> tuple[str, ...]:
    return (f"hf download Jia-py/G3-checkpoint {name}_places365.csv --local-dir {{folder}}",)


def _photos(link: str) -> tuple[str, ...]:
    return f"save {link} with a browser", f"unzip {link.split('/')[-1]} -d {{folder}}"


# By the last two parts of the path: the same layout may lie elsewhere.
SOURCES = {
    "im2gps3k/im2gps3k.csv": Source("candidate table of IM2GPS3K", _table("im2gps3k")),
    "im2gps3k/im2gps3k_places365.csv": Source("coordinates of the IM2GPS3K photos", _coordinates("im2gps3k")),
    "im2gps3k/im2gps3ktest": Source(
        "photos of IM2GPS3K", _photos("http://www.mediafire.com/file/7ht7sn78q27o9we/im2gps3ktest.zip")
    ),
    "yfcc4k/yfcc4k.csv": Source("candidate table of YFCC4K", _table("yfcc4k")),
    "yfcc4k/yfcc4k_places365.csv": Source("coordinates of the YFCC4K photos", _coordinates("yfcc4k")),
    "yfcc4k/yfcc4k": Source("photos of YFCC4K", _photos("http://www.mediafire.com/file/3og8y3o6c9de3ye/yfcc4k.zip")),
    "mp16-pro/mp-16-images.tar": Source(
        "MP16-Pro, the gallery photos, and tar_index.pkl beside them; 370 GB",
        (
            LOGIN,
            "hf download Jia-py/MP16-Pro --repo-type dataset --local-dir {folder}",
            "cat {folder}/mp-16-images[0-9]* > {folder}/mp-16-images.tar && rm {folder}/mp-16-images[0-9]*",
            "mv {folder}/metadata/* {folder}/",
        ),
    ),
    "mp16-pro/MP16_Pro_filtered.csv": Source(
        "MP16-Pro, the metadata that I.npy counts in",
        (
            LOGIN,
            "hf download Jia-py/MP16-Pro metadata/MP16_Pro_filtered.csv --repo-type dataset --local-dir {folder}",
            "mv {folder}/metadata/MP16_Pro_filtered.csv {folder}/",
        ),
    ),
    "dataset/georanking": Source(
        "GeoRanking, the training rows", (CLONE, "cp -rn published/dataset/georanking {folder}/")
    ),
}
ADAPTER = Source(
    "{folder} is no adapter; the embedded world's is checkpoints/earth, the released one for photographs "
    "published/checkpoints of a clone",
    (CLONE,),
)
ADAPTER_FILES = ("adapter_config.json", "georanker.json")
# What is in the folders of the embedded world when `make earth-data` and `make calibration` are done.
_QUERIES = ("metadata.csv", "images")
_FOUND = ("retrieval.csv", "I.npy", "D.npy", "S.npy", "generation.csv", "generation.csv.jsonl")
EARTH_FILES = {
    "gallery": ("metadata.csv", "images.tar", "images.tar.index", "tar_index.pkl", "index"),
    "pretrain": _QUERIES,
    "train": (*_QUERIES, *_FOUND, "georanking.parquet"),
    "val": (*_QUERIES, *_FOUND, "georanking.parquet", "candidates.csv"),
    **dict.fromkeys(("test", "calibration", "check"), (*_QUERIES, *_FOUND, "candidates.csv")),
}
EARTH = Source("part of the embedded world", ("make demo", "make earth-data   # for the train and val splits"))
OSV5M = Source(
    "part of OpenStreetView-5M, 260 GB, of which a part will do: docs/gallery.md",
    ("hf download osv5m/osv5m --repo-type dataset --local-dir dataset/osv5m",),
)
OSV5M_TABLES = Source(
    "made of OpenStreetView-5M; dataset/README.md has the steps",
    (
        "python -m tools.import_gallery osv5m dataset/osv5m/train.csv dataset/osv5m/train/metadata.csv "
        "--one_per_sequence",
        "python -m tools.import_gallery osv5m dataset/osv5m/test.csv dataset/osv5m/test/metadata.csv",
        "python retrieve_candidates.py build --gallery dataset/osv5m/train/metadata.csv "
        "--image_data_path dataset/osv5m/images/train --model openai/clip-vit-large-patch14 "
        "--index dataset/osv5m/index",
        "python retrieve_candidates.py search --index dataset/osv5m/index --queries dataset/osv5m/test/metadata.csv "
        "--image_path dataset/osv5m/images/test --output_dir dataset/osv5m/test --exclude_owner",
        "python compile_prediction_candidates.py --root_path dataset/osv5m/test "
        "--gallery dataset/osv5m/train/metadata.csv",
    ),
)
CALIBRATION = Source("part of the embedded world", ("make calibration",))
SHIPPED = Source("part of this repository", ("git checkout -- checkpoints",))


def source(path: Path) -> Source | None:
    """Where a file that belongs to a known benchmark comes from; None for any other."""
    if path.is_relative_to("dataset/earth") and _is_of_earth(path.parts[2:]):
        return CALIBRATION if path.parts[2:3] in (("calibration",), ("check",)) else EARTH
    if path.is_relative_to("dataset/osv5m"):
        made = ("train", "test", "index")
        return OSV5M_TABLES if path.parts[2:] and path.parts[2] in made else OSV5M
    if path.is_relative_to("checkpoints/earth"):
        return SHIPPED
    if path.is_relative_to("checkpoints/earth-base") and path.name not in ADAPTER_FILES:
        return SHIPPED
    return ADAPTER if path.name == "adapter_config.json" else SOURCES.get("/".join(path.parts[-2:]))


def _is_of_earth(parts: tuple[str, ...]) -> bool:
    """Whether the embedded world, once built, has the path of these ``parts`` below its folder."""
    match parts:
        case ():
            return True
        case folder, *_ if folder not in EARTH_FILES:
            return False
        case (_,):
            return True
        case folder, "images", name if "images" in EARTH_FILES[folder]:
            return re.fullmatch(rf"{folder}_\d{{6}}\.jpg", name) is not None
        case folder, file, *below:
            return file in EARTH_FILES[folder] and (not below or file == "index")


def check_files(files: Iterable[tuple[str | None, str | os.PathLike | None]]) -> None:
    """Raise FileNotFoundError for all of ``files`` (flag, path) that are missing.

    The message says of each its path, its flag, and what it is and how to get it where that is known. A flag of None
    is no flag: the path stands in the command by its position. A path of None is not needed.
    """
    missing = {Path(path): flag for flag, path in files if path is not None and not Path(path).exists()}
    lines: dict[str, None] = {}  # in order, and a command that fetches several files once
    for path, flag in missing.items():
        lines |= dict.fromkeys(absence(path, f" (or say with --{flag} where it lies)" if flag else ""))
    if lines:
        raise FileNotFoundError("\n".join(lines))


def absence(path: str | os.PathLike, remedy: str = "") -> list[str]:
    """Lines for a message: the file does not exist; what it is and how to get it where that is known."""
    known = source(Path(path))
    if known is None:
        return [f"{path} does not exist{remedy}"]
    what, *commands = (text.format(folder=Path(path).parent) for text in (known.what, *known.fetch))
    return [f"{path} does not exist{remedy}: {what}", *(f"    {command}" for command in commands)]
