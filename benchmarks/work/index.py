"""A compressed index of synthetic embeddings, built and searched, for ``benchmarks.index``."""

import platform
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import faiss
import numpy as np

from utils.jobs.progress import progress_bar
from utils.retrieval.compressed_index import (
    CHECKED_TOPK,
    SAMPLE_A_CELL,
    SHORTLIST,
    TRIED_PROBES,
    CompressedIndex,
    ExactTop,
    cells_for,
    recall,
)

CHUNK = 16_384
LATENT, NOISE, WITHIN, NOISE_BANK = 128, 0.3, 0.7, 4_096
QUERIES = 100


class SyntheticEmbeddings:
    """Chunks (CHUNK, dimension) float32 of unit vectors; chunk i is the same whenever it is asked for."""

    def __init__(self, photos: int, dimension: int, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.seed = seed
        self.spread = np.arange(1, LATENT + 1, dtype=np.float32) ** -0.5
        self.places = self.spread * random.standard_normal((max(100, photos // 100), LATENT), dtype=np.float32)
        self.basis = random.standard_normal((LATENT, dimension), dtype=np.float32) / dimension**0.5
        length = np.linalg.norm(self.spread) / dimension**0.5
        self.cone = length * random.standard_normal(dimension, dtype=np.float32)
        self.noise = NOISE * length / 2**0.5 * random.standard_normal((NOISE_BANK, dimension), dtype=np.float32)

    def chunk(self, number: int) -> np.ndarray:
        random = np.random.default_rng([self.seed, number])
        latent = WITHIN * self.spread * random.standard_normal((CHUNK, LATENT), dtype=np.float32)
        latent += self.places[random.integers(len(self.places), size=CHUNK)]
        vectors = latent @ self.basis  # (CHUNK, dimension)
        vectors += self.cone
        for _ in range(2):
            vectors += self.noise[random.integers(NOISE_BANK, size=CHUNK)]
        vectors /= np.sqrt(np.einsum("nd,nd->n", vectors, vectors))[:, None]
        return vectors


class Clock:
    """Seconds by the wall and of this process's CPU time, by phase; a phase within another counts for itself only."""

    def __init__(self) -> None:
        self.wall: Counter[str] = Counter()
        self.cpu: Counter[str] = Counter()
        self._open: list[str] = []

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self._open.append(name)
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self._open.pop()
        for seconds, spent in ((self.wall, time.perf_counter() - wall), (self.cpu, time.process_time() - cpu)):
            seconds[name] += spent
            for outer in self._open[-1:]:
                seconds[outer] -= spent


def statistics(vectors: np.ndarray) -> dict[str, float]:
    """How a sample (n, d) of the embeddings is distributed."""
    cosines = vectors[:1000] @ vectors[1000:2000].T
    variance = np.linalg.eigvalsh(np.cov(vectors[:4000].T.astype(np.float64)))[::-1]
    return {
        "mean_cosine_of_two_photos": float(cosines.mean()),
        "participation_ratio": float(variance.sum() ** 2 / np.square(variance).sum()),
        "components_with_95_percent_of_the_variance": int(np.searchsorted(variance.cumsum() / variance.sum(), 0.95))
        + 1,
    }


def measure(photos: int, dimension: int, code_bytes: int) -> dict:
    """Build, tune and search an index of ``photos`` embeddings with codes of ``code_bytes``; all figures, for JSON."""
    embeddings, clock = SyntheticEmbeddings(photos, dimension), Clock()
    chunks, cells = -(-photos // CHUNK), cells_for(photos)

    def made(number: int) -> np.ndarray:
        with clock.phase("generate"):
            return embeddings.chunk(number)[: photos - number * CHUNK]

    sampled = min(chunks, -(-SAMPLE_A_CELL * cells // CHUNK))
    with clock.phase("train"):
        index = CompressedIndex.train(map(made, range(sampled)), cells, code_bytes)
    queries = embeddings.chunk(chunks)[:QUERIES]  # the chunk after the last: no photo of the gallery
    exact, exact_least = ExactTop(queries, CHECKED_TOPK), ExactTop(-queries, CHECKED_TOPK)
    for number in progress_bar(range(chunks), unit="chunk"):
        vectors = made(number)
        rows = number * CHUNK + np.arange(len(vectors))
        with clock.phase("add"):
            index.add(vectors, rows)
        with clock.phase("exact search, to compare"):
            for check in (exact, exact_least):
                check.update(vectors, rows)
    index.tune(exact, exact_least)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index.faiss"
        faiss.write_index(index.index, str(path))
        size = path.stat().st_size
        mapped = CompressedIndex(faiss.read_index(str(path), faiss.IO_FLAG_MMAP), index.most, index.least)
        searches = []
        for probes in [count for count in TRIED_PROBES if count <= cells]:
            started = time.process_time()
            found = mapped.shortlist(queries, SHORTLIST * CHECKED_TOPK, probes)
            milliseconds = 1000 * (time.process_time() - started) / len(queries)
            opposite = mapped.shortlist(-queries, SHORTLIST * CHECKED_TOPK, probes)
            searches.append(
                {
                    "cells": probes,
                    "recall@20": recall(found, exact.rows),
                    "recall@20 by codes alone": recall(found[:, :CHECKED_TOPK], exact.rows),
                    "recall@20 of the least similar": recall(opposite, exact_least.rows),
                    "cpu_ms_per_query": milliseconds,
                }
            )
    return {
        "photos": photos,
        "dimension": dimension,
        "cells": cells,
        "bytes_per_photo": index.bytes_per_photo,
        "index_file_bytes": size,
        "chosen_cells": {"most similar": index.most.count, "least similar": index.least.count},
        "searches": searches,
        "cpu_seconds": clock.cpu,
        "wall_seconds": clock.wall,
        "peak_rss_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "threads": faiss.omp_get_max_threads(),
        "machine": platform.machine(),
        "embeddings": statistics(embeddings.chunk(0)),
    }
