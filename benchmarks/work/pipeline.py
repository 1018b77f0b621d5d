"""From photo files to rewards: both sides on the same files, for ``benchmarks.pipeline``."""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import measure, naive
from benchmarks.common import make_inputs, settings
from benchmarks.models import load_ranker, with_language_head
from utils.evaluation.reward_log import RewardLog
from utils.evaluation.scoring import score_benchmark
from utils.model.features import EncodedPhotos


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure, and return all figures."""
    ranker = load_ranker(
        args.preset,
        args.layout,
        dtype=args.dtype,
        device=args.device,
        attention=args.attn_implementation,
        candidate_max_pixels=args.candidate_max_pixels,
    )
    stock = with_language_head(ranker)
    workers = args.num_workers if args.num_workers is not None else 0 if args.device.type == "cpu" else 4
    results = settings(args)
    with tempfile.TemporaryDirectory() as folder:
        queries, photos, gallery = make_inputs(args, ranker, folder)
        log = RewardLog(Path(folder), "benchmark")

        def ours() -> list[np.ndarray]:
            rewards, problems = score_benchmark(
                ranker,
                dict(enumerate(queries)),
                EncodedPhotos(photos, ranker.packer),
                EncodedPhotos(gallery, ranker.candidate_packer),
                log,
                max_tokens=args.max_tokens,
                sharing=args.sharing or "prefix_cache",
                num_workers=workers,
            )
            if problems:
                raise ValueError(problems[0].message)
            return [rewards[number] for number in range(len(queries))]

        @torch.inference_mode()
        def published() -> list[np.ndarray]:
            return [
                torch.cat(
                    [
                        naive.rewards(stock, ranker, naive.to(inputs, args.device)).cpu()
                        for inputs in naive.batches(ranker, query, photos, gallery)
                    ]
                ).numpy()
                for query in queries
            ]

        sides = {"ours": ours, "naive": published}
        rewards = measure.compare(sides, len(queries), args.repeats, args.device, results)
    if results["speedup"]:
        results |= measure.agreement(rewards["ours"], rewards["naive"])
    return results
