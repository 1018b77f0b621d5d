"""Exact and compressed indexes of growing galleries, built and searched, for ``benchmarks.search``."""

import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fresh import in_fresh_process, own_mib
from benchmarks.work.index import CHUNK, SyntheticEmbeddings
from utils.jobs.files import atomic_path, write_json
from utils.jobs.progress import progress_bar
from utils.jobs.reading import read_array, read_json_object
from utils.retrieval.compressed_index import CompressedIndex, cells_for, recall
from utils.retrieval.exact_index import ExactIndex

KINDS = {"exact": ExactIndex, "ivfpq": CompressedIndex}
TOPK = 20
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
EMBEDDINGS, BUILT = "embeddings.npy", "build.json"


def measured(sizes: Sequence[int], dimension: int, code_bytes: int, queries: int, folder: Path) -> dict[str, Any]:
    """All figures, for JSON."""
    settings = {"dimension": dimension, "code_bytes": code_bytes, "queries": queries}
    return settings | {
        "rows": list(rows(sizes, dimension, code_bytes, queries, folder)),
        "cores": os.cpu_count(),
        "date": time.strftime("%Y-%m-%d"),
    }


def rows(sizes: Sequence[int], dimension: int, code_bytes: int, queries: int, folder: Path) -> Iterator[dict[str, Any]]:
    """Figures of both kinds of index for each number of photos; what is in ``folder`` already is not built again."""
    for photos in progress_bar(sizes, unit="gallery"):
        gallery = folder / f"{photos}-{dimension}-{code_bytes}"
        if not (gallery / EMBEDDINGS).exists():
            write_embeddings(gallery / EMBEDDINGS, photos, dimension)
        found: dict[str, list[list[int]]] = {}
        for kind in KINDS:
            built = _built(gallery, kind, code_bytes)
            asked = {"gallery": str(gallery), "kind": kind, "photos": photos, "dimension": dimension}
            searched = in_fresh_process(search, ONE_THREAD, **asked, queries=queries)
            found[kind] = searched.returned.pop("rows")
            yield {
                "photos": photos,
                "kind": kind,
                **built,
                **searched.returned,
                "search_peak_mib": searched.peak_mib,
                "recall@1": recall(_first(found[kind], 1), _first(found["exact"], 1)),
                "recall@20": recall(_first(found[kind], TOPK), _first(found["exact"], TOPK)),
            }


def _first(found: list[list[int]], count: int) -> np.ndarray:
    return np.array(found)[:, :count]


def _built(gallery: Path, kind: str, code_bytes: int) -> dict[str, Any]:
    """What building took, now or when it was done."""
    path = gallery / kind / BUILT
    if not path.exists():
        done = in_fresh_process(build, ONE_THREAD, gallery=str(gallery), kind=kind, code_bytes=code_bytes)
        write_json(path, done.returned | {"build_peak_mib": done.peak_mib})
    return read_json_object(path)


def write_embeddings(path: Path, photos: int, dimension: int) -> None:
    """Synthetic ones (photos, dimension), in float16 as ``retrieve_candidates.py build`` can keep them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = SyntheticEmbeddings(photos, dimension)
    with atomic_path(path) as temporary:
        array = np.lib.format.open_memmap(temporary, "w+", np.float16, (photos, dimension))
        for number, start in enumerate(range(0, photos, CHUNK)):
            array[start : start + CHUNK] = made.chunk(number)[: photos - start]
        array.flush()


def build(gallery: str, kind: str, code_bytes: int) -> dict[str, Any]:
    """Index the embeddings in ``gallery`` into its folder ``kind``; in a process of its own."""
    folder = Path(gallery, kind)
    folder.mkdir(exist_ok=True)
    embeddings = read_array(Path(gallery, EMBEDDINGS), ("float16",), 2)
    start = time.process_time()
    index = ExactIndex.build(embeddings, 0) if kind == "exact" else CompressedIndex.build(embeddings, code_bytes)
    index.save(folder)
    took = {"build_seconds": time.process_time() - start}
    link = folder / EMBEDDINGS  # where a compressed index looks for them
    if not link.exists():
        link.symlink_to(os.path.join("..", EMBEDDINGS))
    size = (folder / "index.faiss").stat().st_size
    cells = {} if kind == "exact" else {"cells": index.most.count, "of_cells": cells_for(len(embeddings))}
    return took | {"bytes_per_photo": index.bytes_per_photo, "index_bytes": size} | cells


def search(gallery: str, kind: str, photos: int, dimension: int, queries: int) -> dict[str, Any]:
    """Load an index and search for one photo after the other; in a process of its own.

    The queries are the chunk after the gallery's last: photos of the same places that are not in it.
    """
    vectors = SyntheticEmbeddings(photos, dimension).chunk(-(-photos // CHUNK))[:queries]
    index, load_seconds = timed(lambda: KINDS[kind].load(Path(gallery, kind)))
    asked = (timed(lambda query=query: index.search(query[None], TOPK)[0][0]) for query in vectors)
    found, seconds = zip(*asked, strict=True)
    return {
        "rows": [row.tolist() for row in found],
        "load_seconds": load_seconds,
        "first_query_ms": 1000 * seconds[0],
        "query_ms": 1000 * statistics.median(seconds),
        "search_own_mib": own_mib(),
    }


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What ``work`` returns, and its seconds of processor time."""
    start = time.process_time()
    returned = work()
    return returned, time.process_time() - start
