"""Where the files of the known benchmarks lie, relative to the checkout."""

from argparse import Namespace
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PUBLISHED_BASE = "Qwen/Qwen2-VL-7B-Instruct"


@dataclass(frozen=True)
class Benchmark:
    """Default paths; ``{split}`` stands for val or test where a benchmark has splits."""

    candidates: str  # candidate table
    image_path: str  # folder of the query photos
    image_data_path: str  # tar of the gallery photos, its index beside it
    model: str = PUBLISHED_BASE  # base model: hub name or folder
    model_path: str | None = None  # adapter folder, where one is shipped
    gallery_metadata: str | None = None
    train_metadata: tuple[str, ...] = ()


BENCHMARKS = {
    "im2gps3k": Benchmark(
        candidates="dataset/im2gps3k/im2gps3k.csv",
        image_path="dataset/im2gps3k/im2gps3ktest",
        image_data_path="dataset/mp16/mp-16-images.tar",
    ),
    "yfcc4k": Benchmark(
        candidates="dataset/yfcc4k/yfcc4k.csv",
        image_path="dataset/yfcc4k/yfcc4k",
        image_data_path="dataset/mp16/mp-16-images.tar",
    ),
    "earth": Benchmark(
        candidates="dataset/earth/{split}/candidates.csv",
        image_path="dataset/earth/{split}/images",
        image_data_path="dataset/earth/gallery/images.tar",
        model="checkpoints/earth-base",
        model_path="checkpoints/earth",
        gallery_metadata="dataset/earth/gallery/metadata.csv",
        train_metadata=("dataset/earth/pretrain/metadata.csv", "dataset/earth/train/metadata.csv"),
    ),
}


def set_default_paths(args: Namespace) -> Benchmark:
    """Give the paths that ``args`` leaves open (None) those of its ``dataset`` and ``split``, and return them all."""
    defaults = BENCHMARKS[args.dataset]
    for name in ("candidates", "image_path", "image_data_path"):
        if getattr(args, name) is None:
            setattr(args, name, getattr(defaults, name).format(split=args.split))
    args.model = args.model or defaults.model
    args.model_path = args.model_path or defaults.model_path
    return defaults


def check_files(files: Iterable[tuple[str, str | None]]) -> None:
    """Raise FileNotFoundError, naming path and flag, for the first of ``files`` (flag, path) that is missing.

    A path of None is not needed.
    """
    for flag, path in files:
        if path is not None and not Path(path).exists():
            raise FileNotFoundError(f"{path} does not exist: put it there, or say with --{flag} where it lies")
