"""The index of a gallery tar, from a made-up pickle of the released format, for ``benchmarks.tar_index``."""

import multiprocessing
import pickle
import pickletools
import random
import struct
import tarfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from utils.jobs.files import atomic_path
from utils.photos.tar_index import open_index
from utils.photos.tar_index_build import index_pickle

FIRST_BYTE = 2**32  # offsets from here on take the same number of bytes in a pickle
MIB = 2**20


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


def convert(released: str, tar: str) -> dict[str, float]:
    start, start_cpu = time.perf_counter(), time.process_time()
    index_pickle(Path(released), Path(tar))
    return {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - start_cpu}


def look_up(index: Mapping[str, Any], entries: int, lookups: int, seed: int) -> dict[str, float]:
    """Look up random photos, half as many that are absent, and say what memory of its own the process took."""
    numbers = random.Random(seed)
    ids = [photo_id(numbers.randrange(entries)) for _ in range(lookups)]
    absent = [f"{image_id[:-4]}.png" for image_id in ids[: lookups // 2]]
    before = psutil.Process().memory_full_info().uss
    start = time.perf_counter()
    assert all(index[image_id].size for image_id in ids)
    middle = time.perf_counter()
    assert not any(image_id in index for image_id in absent)
    end = time.perf_counter()
    return {
        "lookups_per_second": lookups / (middle - start),
        "absent_per_second": len(absent) / (end - middle),
        "uss_added_mib": (psutil.Process().memory_full_info().uss - before) / MIB,
    }


def look_up_from(index: Mapping[str, Any], entries: int, lookups: int, workers: int) -> dict[str, float]:
    """The same from ``workers`` forked processes at once: lookups of all together, memory of the worst."""
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [
        context.Process(target=lambda seed: results.put(look_up(index, entries, lookups, seed)), args=(seed,))
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


def measure(released: str, tar: str, entries: int, lookups: int, workers: int, plain: bool) -> dict[str, Any]:
    """Open the index, or load the dict, then look up from this process and from ``workers`` forked ones."""
    process = psutil.Process()
    before = process.memory_info().rss
    start, start_cpu = time.perf_counter(), time.process_time()
    if plain:
        with open(released, "rb") as file:
            index = pickle.load(file)
    else:
        index = open_index(Path(tar), Path(released))
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - start_cpu
    loaded = process.memory_info().rss
    return {
        "open_seconds": seconds,
        "open_cpu_seconds": cpu_seconds,
        "rss_added_mib": (loaded - before) / MIB,
        "one_process": look_up(index, entries, lookups, seed=1000),
        "forked": look_up_from(index, entries, lookups, workers),
        "rss_added_after_lookups_mib": (process.memory_info().rss - before) / MIB,
    }
