"""The model's work of ranking candidates: both sides on the same inputs, for ``benchmarks.ranking``."""

import argparse
import tempfile
from typing import Any

import torch
from torch import Tensor

from benchmarks import flops, measure, naive
from benchmarks.common import make_inputs, settings
from benchmarks.inputs import encode
from benchmarks.models import load_ranker, with_language_head
from utils.geo_ranker import GeoRanker
from utils.model.batch import PackedBatch
from utils.model.packing import chunks


def make_batches(
    args: argparse.Namespace, ranker: GeoRanker
) -> tuple[list[PackedBatch], list[dict[str, Tensor]], list[int]]:
    """The same queries as batches of both sides, and how many candidates each has."""
    with tempfile.TemporaryDirectory() as folder:
        inputs = make_inputs(args, ranker, folder)
        theirs = [batch for query in inputs[0] for batch in naive.batches(ranker, query, *inputs[1:])]
        queries, images = encode(inputs, ranker.packer, ranker.candidate_packer)
    tokenized = (ranker.packer.tokenize(query, images) for query in queries)
    ours = [ranker.packer.collate(chunk, images) for chunk in chunks(tokenized, args.max_tokens)]
    return ours, theirs, [len(query.candidates) for query in queries]


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure, or with ``--flops_only`` count, and return all figures."""
    sharing = args.sharing or "prefix_cache"
    ranker = load_ranker(
        args.preset,
        args.layout,
        dtype=args.dtype,
        device="meta" if args.flops_only else args.device,
        attention=args.attn_implementation,
        candidate_max_pixels=args.candidate_max_pixels,
    )
    packed, prompts, sizes = make_batches(args, ranker)
    count = flops.FlopCounter(ranker.backbone.config)
    results = settings(args) | flops.counted(packed, prompts, sharing, count.inference, len(sizes))
    if args.flops_only:
        return results

    stock = with_language_head(ranker)
    packed = [batch.to(args.device) for batch in packed]
    prompts = [naive.to(naive.with_positions(ranker, inputs), args.device) for inputs in prompts]

    @torch.inference_mode()
    def ours() -> Tensor:
        return torch.cat([ranker(batch, sharing) for batch in packed])

    @torch.inference_mode()
    def published() -> Tensor:
        return torch.cat([naive.rewards(stock, ranker, inputs) for inputs in prompts])

    sides = {"ours": ours, "naive": published}
    rewards = measure.compare(sides, len(sizes), args.repeats, args.device, results)
    measure.add_utilisation(results, args.dtype, args.device)
    if results["speedup"]:
        results |= measure.agreement(*([part.numpy() for part in rewards[name].cpu().split(sizes)] for name in sides))
    return results
