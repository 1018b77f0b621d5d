"""Ranking with more and more candidates, measured and counted on both sides, for ``benchmarks.growth``."""

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import flops, measure, naive
from benchmarks.inputs import Inputs, earth_inputs, encode, synthetic_inputs
from benchmarks.models import load_ranker, with_language_head
from utils.geo_ranker import GeoRanker
from utils.model.batch import EncodedImage, PackedBatch, TokenizedQuery
from utils.model.packing import Packer, chunks
from utils.model.prompts import Layout

CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
OWN = 20  # candidates that a query of earth has

Settings = dict[str, Any]


def key(point: Mapping[str, Any]) -> tuple[Any, ...]:
    """Where a point stands: of two with the same key the later replaces the earlier."""
    return point["preset"], point["pixels"], point["photo"], point["layout"], point["candidates"]


def planned(args: argparse.Namespace) -> Iterator[tuple[Settings, Callable[[], dict[str, Any]]]]:
    """The settings of every point and what measures it; models are loaded and photos made when they are needed."""
    common = {"preset": args.preset, "queries": args.queries, "repeats": args.repeats, "max_tokens": args.max_tokens}
    common |= {"most_tflops": args.most_tflops, "dtype": str(args.dtype).removeprefix("torch.")}
    common |= {"clock": args.clock}
    for photo in args.photo:
        shown = {"photo": "tiles" if args.earth_data else "{}x{}".format(*photo), "pixels": photo[0] * photo[1]}
        for layout in args.layout:
            with tempfile.TemporaryDirectory() as folder:
                bench = Bench(args, photo, layout, Path(folder))
                for count in sorted(args.candidates):
                    settings = common | shown | {"layout": layout, "candidates": count}
                    yield settings, lambda bench=bench, count=count: bench.measured(count)


class Bench:
    """One model and the queries that it ranks, with photos of one size; made when first used."""

    def __init__(self, args: argparse.Namespace, photo: tuple[int, int], layout: Layout, folder: Path) -> None:
        self.args, self.photo, self.layout, self.folder = args, photo, layout, folder
        self._loaded: tuple[GeoRanker, Inputs] | None = None

    def loaded(self) -> tuple[GeoRanker, Inputs]:
        """The ranker, and queries with the most candidates."""
        if self._loaded is None:
            args, most = self.args, max(self.args.candidates)
            ranker = load_ranker(args.preset, self.layout, dtype=args.dtype, device=args.device)
            if args.earth_data:
                inputs = grown_earth_inputs(args.queries, most)
            else:
                sizes = {"photo": self.photo, "candidate_photo": self.photo}
                inputs = synthetic_inputs(
                    self.folder, ranker.packer.tokenizer, count=args.queries, candidates=most, generated=0, **sizes
                )
            self._loaded = ranker, inputs
        return self._loaded

    def measured(self, count: int) -> dict[str, Any]:
        """Figures of both sides for queries of ``count`` candidates: operations, and what is affordable measured."""
        args = self.args
        ranker, (queries, *stores) = self.loaded()
        queries = [replace(query, candidates=query.candidates[:count]) for query in queries]
        counts = counted(ranker, (queries, *stores), args.max_tokens)
        sides = {}
        if counts["ours"]["tflops"] <= args.most_tflops:
            sides["ours"] = ours_of(ranker, (queries, *stores), args.max_tokens, args.device)
        if counts["naive"]["tflops"] <= args.most_tflops:
            sides["naive"] = naive_of(ranker, (queries, *stores), args.device)
        seconds, rewards = measure.in_turn(sides, args.repeats, args.device, CLOCKS[args.clock])
        for name, runs in seconds.items():
            own = counts[name]
            own |= {"ms": 1000 * statistics.median(runs) / len(queries)}
            own |= {"peak_mib": measure.peak_memory(sides[name], args.device) / measure.MIB, "runs": runs}
        if len(rewards) == len(counts):
            differences = np.abs(rewards["ours"] - rewards["naive"])
            counts |= {"max_reward_difference": float(differences.max())}
        return counts | {"machine": measure.machine(args.device)}


def grown_earth_inputs(count: int, most: int) -> Inputs:
    """Earth's first queries with ``most`` candidates: a query's own, then those of the queries after it."""
    others = -(-most // OWN)
    queries, *stores = earth_inputs(count + others, OWN, 0)
    grown = []
    for number, query in enumerate(queries[:count]):
        pool = {c.image: c for following in queries[number : number + others + 1] for c in following.candidates}
        grown.append(replace(query, candidates=tuple(pool.values())[:most]))
    return grown, *stores


def counted(ranker: GeoRanker, inputs: Inputs, max_tokens: int) -> dict[str, dict[str, float]]:
    """Language tokens and operations a query, of both sides, from shapes: all photos have the size of the first."""
    queries, photos, _ = inputs
    packer, count = ranker.packer, flops.FlopCounter(ranker.backbone.config)
    grid = packer.encode(photos.open(queries[0].image)).grid_thw
    shape = EncodedImage(grid, features=torch.empty(1, int(grid.prod()) // packer.image_processor.merge_size**2, 0))
    shapes: Mapping[Hashable, EncodedImage] = defaultdict(lambda: shape)
    # An image id of a query may be one of the gallery's, too.
    tokenized = [packer.tokenize(replace(query, image=f"query {query.image}"), shapes) for query in queries]
    loads = {
        "ours": [flops.shared(batch, "prefix_cache") for batch in packed(packer, tokenized, shapes, max_tokens)],
        "naive": [load for query in tokenized for load in naive_loads(query, int(grid.prod()))],
    }
    return {
        name: {
            "tokens": sum(call.rows * call.tokens for load in side for call in load.calls) / len(queries),
            "tflops": sum(map(count.inference, side)) / len(queries) / 1e12,
        }
        for name, side in loads.items()
    }


def naive_loads(query: TokenizedQuery, patches: int) -> Iterator[flops.Workload]:
    """What the published way computes for a query, whose photos all have so many ``patches``."""
    for start in range(0, len(query.suffixes), naive.BATCH_SIZE):
        rows = query.suffixes[start : start + naive.BATCH_SIZE]
        length = len(query.prefix.ids) + max(len(row.ids) for row in rows)
        photos = [patches for row in rows for _ in (*query.prefix.images, *row.images)]
        yield flops.Workload([flops.Call(len(rows), length, length)], photos, len(rows), len(rows) * length)


def packed(
    packer: Packer, queries: list[TokenizedQuery], images: Mapping[Hashable, EncodedImage], max_tokens: int
) -> list[PackedBatch]:
    """Each query alone, in as many batches as it takes."""
    return [packer.collate(chunk, images) for query in queries for chunk in chunks([query], max_tokens)]


def ours_of(ranker: GeoRanker, inputs: Inputs, max_tokens: int, device: torch.device) -> Callable[[], np.ndarray]:
    """Ranks the queries, one after the other, from encoded photos and tokens."""
    queries, images = encode(inputs, ranker.packer)
    tokenized = [ranker.packer.tokenize(query, images) for query in queries]
    batches = [batch.to(device) for batch in packed(ranker.packer, tokenized, images, max_tokens)]

    @torch.inference_mode()
    def work() -> np.ndarray:
        return torch.cat([ranker(batch, "prefix_cache") for batch in batches]).cpu().numpy()

    return work


def naive_of(ranker: GeoRanker, inputs: Inputs, device: torch.device) -> Callable[[], np.ndarray]:
    """The same in the published way."""
    stock = with_language_head(ranker)
    batches: list[dict[str, Tensor]] = [
        naive.to(naive.with_positions(ranker, prompts), device)
        for query in inputs[0]
        for prompts in naive.batches(ranker, query, *inputs[1:])
    ]

    @torch.inference_mode()
    def work() -> np.ndarray:
        return torch.cat([naive.rewards(stock, ranker, prompts) for prompts in batches]).cpu().numpy()

    return work
