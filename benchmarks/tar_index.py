"""What the index of a gallery tar costs: converting the released pickle, opening, looking up from many processes.

    nice python -m benchmarks.tar_index --entries 4120000 --output outputs/tar_index.json

A pickle of the released format with made-up photos is written first, then measured in fresh processes: our index,
and the plain way, ``pickle.load`` of the dict in every process. The plain way needs 1.3 GB of memory for each million
entries, and forked processes copy what they touch of it; ``--skip_plain`` leaves it out. Memory is as Linux counts it:
RSS, and USS, the part that no other process shares.
"""

import argparse
import multiprocessing
import os
import pickle
import pickletools
import random
import re
import struct
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.flags import add_output
from utils.cli.command import run_command
from utils.cli.flags import at_least, script_parser
from utils.data_paths import check_files
from utils.jobs.files import atomic_path, write_json
from utils.jobs.outputs import check_outputs
from utils.photos.tar_index import open_index
from utils.photos.tar_index_build import index_pickle

ENTRIES = 4_120_000  # photos of MP16-Pro
FIRST_BYTE = 2**32  # offsets from here on take the same number of bytes in a pickle
LOOKUPS = 200_000  # by each process
MIB = 2**20


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__, "benchmarks.tar_index")
    add = parser.add_argument
    add("--entries", type=at_least(3), default=ENTRIES, help="photos in the index (default: as in MP16-Pro)")
    add("--workers", type=at_least(1), default=8, help="processes that look up at once in our index")
    add("--plain_workers", type=at_least(1), default=1, help="the same for the dict; each copies up to all of it")
    add("--skip_plain", action="store_true", help="leave the plain way out")
    add("--folder", type=Path, help="for temporary files, 3 GB at full size (default: the system's)")
    add_output(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: measure_both(args), quiet=args.quiet)


def measure_both(args: argparse.Namespace) -> list[str]:
    """Measure our index and, unless it is left out, the plain way; print the table and write the figures."""
    check_files([("folder", args.folder)])
    check_outputs([("--output", args.output)])
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        released, tar = Path(folder, "tar_index.pkl"), Path(folder, "images.tar")
        size = write_released_pickle(released, args.entries)
        tar.touch()
        os.truncate(tar, size)  # no bytes in it: only its size is asked for
        results = {"entries": args.entries, "tar_gib": size / 2**30, "pickle_mib": released.stat().st_size / MIB}
        results["convert"] = in_fresh_process(convert, released, tar)
        index_file = released.with_name("tar_index.pkl.index")
        results["index_mib"] = index_file.stat().st_size / MIB
        results["index"] = in_fresh_process(measure, released, tar, args.entries, args.workers, False)
        if not args.skip_plain:
            results["plain"] = in_fresh_process(measure, released, tar, args.entries, args.plain_workers, True)
    print_table(results)
    if args.output:
        write_json(args.output, results)
    return []


def print_table(results: dict[str, Any]) -> None:
    print(f"{results['entries']:,} photos in a tar of {results['tar_gib']:,.0f} GiB")
    print(f"pickle {results['pickle_mib']:,.0f} MiB, index {results['index_mib']:,.0f} MiB")
    converted = results["convert"]
    print(f"converted once in {converted['seconds']:.1f} s ({converted['cpu_seconds']:.1f} s of CPU)")
    print(f"with at most {converted['peak_mib']:,.0f} MiB of memory")
    for name, title in (("index", "our index"), ("plain", "pickle.load in every process")):
        if name not in results:
            continue
        one, forked = results[name]["one_process"], results[name]["forked"]
        print(f"\n{title}")
        for label, value in (
            ("open, s", results[name]["open_seconds"]),
            ("open, s of CPU", results[name]["open_cpu_seconds"]),
            ("most memory of the process, MiB", results[name]["peak_mib"]),
            ("memory added by opening, MiB", results[name]["rss_added_mib"]),
            ("memory added after all lookups, MiB", results[name]["rss_added_after_lookups_mib"]),
            ("lookups a second, found", one["lookups_per_second"]),
            ("lookups a second, absent", one["absent_per_second"]),
            (f"lookups a second, {forked['workers']} forked processes together", forked["lookups_per_second"]),
            (f"own memory taken by each of {forked['workers']} forked processes, MiB", forked["uss_added_mib"]),
        ):
            print(f"  {label:56} {value:14,.3f}")


def photo_id(number: int) -> str:
    """An id as Flickr photos of MP16 have them; numbers are spread over the folders."""
    mixed = number * 2654435761 % 2**32
    return f"{mixed >> 24:02x}/{mixed >> 16 & 255:02x}/{1_000_000 + number}_{mixed:08x}ab_{number % 90}_{mixed}@N00.jpg"


def tar_info(number: int, offset: int, size: int) -> tarfile.TarInfo:
    """What tarfile makes of a member: no two share an object."""
    info = tarfile.TarInfo(photo_id(number))
    info.size, info.mtime, info.uid, info.gid = size, 1_690_000_000, 1000, 1000
    info.uname, info.gname = "".join(["us", "er"]), "".join(["us", "ers"])
    info.chksum, info.offset, info.offset_data = 7142, offset - 512, offset
    return info


def write_released_pickle(path: Path, entries: int) -> int:
    """Write what ``pickle.dump`` of such a dict writes; returns the bytes of the tar it would index.

    ``pickle.dump`` itself would hold all of it in memory. Members differ in id, size, place, and in the number
    under which the unpickler remembers the id, so one of them serves as the template of all.
    """
    sizes = np.random.default_rng(0).integers(70_000, 130_000, entries)
    offsets = FIRST_BYTE + np.concatenate([[0], np.cumsum((sizes + 1023) // 512 * 512)])
    sample = [tar_info(number, int(offsets[number]), int(sizes[number])) for number in range(3)]
    dump = pickle.dumps({info.name: info for info in sample}, protocol=4)
    third, end = dump.index(text(sample[2].name)), len(dump) - len(b"u.")
    remembered = [position for opcode, _, position in pickletools.genops(dump) if opcode.name == "MEMOIZE"]
    before = sum(position < third for position in remembered)
    template = dump[third:end]
    for part in (
        text(sample[2].name),
        b"h%c" % before,  # get the id again, as the member's name
        b"J" + struct.pack("<i", sample[2].size),
        long(sample[2].offset),
        long(sample[2].offset_data),
    ):
        assert template.count(part) == 1
        template = template.replace(part, b"<CUT>")
    pieces = template.split(b"<CUT>")
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        # Bytes 2 to 11 tell the length of the frame, which is optional.
        file.write(dump[:2] + dump[11:third])
        for number in range(2, entries):
            if number % 1000 == 0:
                file.write(b"u(")  # so many entries are put into the dict at a time
            name = b"j" + struct.pack("<I", before + (number - 2) * (len(remembered) - before))
            size = b"J" + struct.pack("<i", sizes[number])
            offset = int(offsets[number])
            parts = (text(photo_id(number)), name, size, long(offset - 512), long(offset), b"")
            file.writelines(part for pair in zip(pieces, parts, strict=True) for part in pair)
        file.write(dump[end:])
    return int(offsets[-1])


def text(value: str) -> bytes:
    """As a pickle has it."""
    return b"\x8c%c%b" % (len(value), value.encode())


def long(value: int) -> bytes:
    """An integer of 33 to 39 bits, as a pickle has it."""
    return b"\x8a\x05" + value.to_bytes(5, "little")


def in_fresh_process(function: Callable, *arguments) -> dict[str, float]:
    """What ``function`` measures in a new process, and the most memory it ever had."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_with_peak, function, *arguments).result()


def _with_peak(function: Callable, *arguments) -> dict[str, float]:
    result = function(*arguments)
    # Not getrusage's, which a new process inherits from the one that started it.
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return result | {"peak_mib": int(peak[1]) / 1024}


def convert(released: Path, tar: Path) -> dict[str, float]:
    start, start_cpu = time.perf_counter(), time.process_time()
    index_pickle(released, tar)
    return {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - start_cpu}


def look_up(index: Mapping[str, Any], entries: int, seed: int) -> dict[str, float]:
    """Look up random photos, half as many that are absent, and say what memory of its own the process took."""
    numbers = random.Random(seed)
    ids = [photo_id(numbers.randrange(entries)) for _ in range(LOOKUPS)]
    absent = [f"{image_id[:-4]}.png" for image_id in ids[: LOOKUPS // 2]]
    before = psutil.Process().memory_full_info().uss
    start = time.perf_counter()
    assert all(index[image_id].size for image_id in ids)
    middle = time.perf_counter()
    assert not any(image_id in index for image_id in absent)
    end = time.perf_counter()
    return {
        "lookups_per_second": LOOKUPS / (middle - start),
        "absent_per_second": len(absent) / (end - middle),
        "uss_added_mib": (psutil.Process().memory_full_info().uss - before) / MIB,
    }


def look_up_from(index: Mapping[str, Any], entries: int, workers: int) -> dict[str, float]:
    """The same from ``workers`` forked processes at once: lookups of all together, memory of the worst."""
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [
        context.Process(target=lambda seed: results.put(look_up(index, entries, seed)), args=(seed,))
        for seed in range(workers)
    ]
    for process in processes:
        process.start()
    found = [results.get() for _ in processes]
    for process in processes:
        process.join()
    return {
        "workers": workers,
        "lookups_per_second": sum(one["lookups_per_second"] for one in found),
        "uss_added_mib": max(one["uss_added_mib"] for one in found),
    }


def measure(released: Path, tar: Path, entries: int, workers: int, plain: bool) -> dict[str, Any]:
    """Open the index, or load the dict, then look up from this process and from ``workers`` forked ones."""
    process = psutil.Process()
    before = process.memory_info().rss
    start, start_cpu = time.perf_counter(), time.process_time()
    if plain:
        with open(released, "rb") as file:
            index = pickle.load(file)
    else:
        index = open_index(tar, released)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - start_cpu
    loaded = process.memory_info().rss
    return {
        "open_seconds": seconds,
        "open_cpu_seconds": cpu_seconds,
        "rss_added_mib": (loaded - before) / MIB,
        "one_process": look_up(index, entries, seed=1000),
        "forked": look_up_from(index, entries, workers),
        "rss_added_after_lookups_mib": (process.memory_info().rss - before) / MIB,
    }


if __name__ == "__main__":
    sys.exit(main())
