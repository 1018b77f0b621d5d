"""How fast photos are read from a folder, a tar and zips, on the tiles of Earth's gallery.

    nice python -m benchmarks.photo_stores --output outputs/photo_stores.json

The same photos are written into a folder of files, a tar, four zips without compression and four deflated ones, and
read in the same random order: bytes (and their SHA-256) by one process and by several forked ones at once, and decoded
by one process. Stores take turns and the median counts. One process counts in seconds of CPU, which other work on the
machine hardly changes, several in seconds of the clock. The files are in the system's cache: no disk is measured.
"""

import argparse
import multiprocessing
import random
import statistics
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.flags import add_output
from utils.cli.command import run_command
from utils.cli.flags import at_least, script_parser
from utils.data_paths import BENCHMARKS, check_files
from utils.jobs.files import write_json
from utils.jobs.outputs import check_outputs
from utils.jobs.progress import progress_bar
from utils.photos.store import ImageStore
from utils.photos.tar_index_build import index_tar

ZIPS = 4

Work = Callable[[ImageStore, Sequence[str]], None]


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__, "benchmarks.photo_stores")
    add = parser.add_argument
    add("--tar", type=Path, default=Path(BENCHMARKS["earth"].image_data_path), help="the photos (%(default)s)")
    add("--photos", type=at_least(1), help="only so many; default: all")
    add("--workers", type=at_least(1), default=4, help="processes that read at once")
    add("--repeats", type=at_least(1), default=5, help="runs of each store, of which the median counts")
    add("--folder", type=Path, help="for temporary files (default: the system's)")
    add_output(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: measure_stores(args), quiet=args.quiet)


def measure_stores(args: argparse.Namespace) -> list[str]:
    """Print a Markdown table and write the figures."""
    check_files([("tar", args.tar), ("folder", args.folder)])
    check_outputs([("--output", args.output)])
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        stores, opened = write_stores(args.tar, Path(folder), args.photos)
        names = sorted(path.name for path in Path(folder, "folder").iterdir())
        random.Random(0).shuffle(names)
        figures = {name: {"open_seconds": opened[name]} for name in stores}
        ways = {
            "read": (read_all, time.process_time),
            "read_together": (together(args.workers), time.perf_counter),
            "decode": (decode_all, time.process_time),
        }
        for way, (work, clock) in ways.items():
            for name, seconds in medians(stores, names, work, clock, args.repeats).items():
                figures[name][f"{way}_per_second"] = len(names) / seconds
    print(f"{len(names):,} photos; photos a second of CPU, together of the clock\n")
    print(f"| | opening, s | bytes | bytes, {args.workers} processes together | decoded |\n|" + "---|" * 5)
    for name, found in figures.items():
        rates = " | ".join(f"{found[f'{way}_per_second']:,.0f}" for way in ways)
        print(f"| {name} | {found['open_seconds']:.2f} | {rates} |")
    if args.output:
        write_json(args.output, {"photos": len(names), "workers": args.workers, "stores": figures})
    return []


def write_stores(tar: Path, folder: Path, count: int | None) -> tuple[dict[str, ImageStore], dict[str, float]]:
    """The stores by name, and the seconds that opening each took, making its index included."""
    paths = {name: folder / name for name in ("folder", "tar", "zips, stored", "zips, deflated")}
    for path in paths.values():
        path.mkdir()
    source = ImageStore.from_paths([tar]).sources[0]
    names = list(source.index)[:count]
    methods = {"zips, stored": zipfile.ZIP_STORED, "zips, deflated": zipfile.ZIP_DEFLATED}
    zips = {
        name: [zipfile.ZipFile(paths[name] / f"{i}.zip", "w", method) for i in range(ZIPS)]
        for name, method in methods.items()
    }
    with tarfile.open(paths["tar"] / "images.tar", "w") as archive:
        for number, name in enumerate(progress_bar(names, unit="photo", desc="writing")):
            file = paths["folder"] / Path(name).name
            file.write_bytes(source.read(name))
            archive.add(file, file.name)
            for shards in zips.values():
                shards[number % ZIPS].write(file, file.name)
    for shard in (shard for shards in zips.values() for shard in shards):
        shard.close()
    stores, opened = {}, {}
    for name, path in paths.items():
        start = time.perf_counter()
        if name == "tar":
            index_tar(path / "images.tar")
        stores[name] = ImageStore.from_paths([path])
        opened[name] = time.perf_counter() - start
    return stores, opened


def medians(
    stores: Mapping[str, ImageStore], names: Sequence[str], work: Work, clock: Callable[[], float], repeats: int
) -> dict[str, float]:
    """Seconds of ``work`` by store, each in turn after a warm-up."""
    times: dict[str, list[float]] = {name: [] for name in stores}
    for repeat in range(repeats + 1):
        for name, store in stores.items():
            start = clock()
            work(store, names)
            if repeat:
                times[name].append(clock() - start)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def read_all(store: ImageStore, names: Sequence[str]) -> None:
    for name in names:
        assert store.content(name) is not None, name


def decode_all(store: ImageStore, names: Sequence[str]) -> None:
    for name in names:
        store.open(name)


def together(workers: int) -> Work:
    """Reading by forked processes, each its share, starting them included."""

    def work(store: ImageStore, names: Sequence[str]) -> None:
        context = multiprocessing.get_context("fork")
        processes = [context.Process(target=read_all, args=(store, names[i::workers])) for i in range(workers)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()

    return work


if __name__ == "__main__":
    sys.exit(main())
