"""From photo files to rewards: ours against the published loop, on the same files in one process.

    python -m benchmarks.pipeline --layout negatives_first --queries 50
    python -m benchmarks.pipeline --preset 7b --output outputs/pipeline.json

Ours is utils/evaluation/scoring.py, as evaluate.py runs it: workers decode ahead, a query's photos once each, several
small queries in one pass. The published loop (benchmarks/naive.py) takes one query after the other and opens the query
photo for every candidate. The files lie in the system's cache: they were written, or read by the warm-up, just before.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import measure, naive
from benchmarks.common import make_inputs, parse, settings, title
from benchmarks.models import load_ranker, with_language_head
from utils.evaluation.reward_log import RewardLog
from utils.evaluation.scoring import score_queries
from utils.model.features import EncodedPhotos


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure, and return all figures."""
    ranker = load_ranker(
        args.preset, args.layout, dtype=args.dtype, device=args.device, attention=args.attn_implementation
    )
    stock = with_language_head(ranker)
    workers = args.num_workers if args.num_workers is not None else 0 if args.device.type == "cpu" else 4
    results = settings(args)
    with tempfile.TemporaryDirectory() as folder:
        queries, photos, gallery = make_inputs(args, ranker, folder)
        log = RewardLog(Path(folder), "benchmark")

        def ours() -> list[np.ndarray]:
            rewards, problems = score_queries(
                ranker,
                dict(enumerate(queries)),
                EncodedPhotos(photos, ranker.packer),
                EncodedPhotos(gallery, ranker.packer),
                log,
                max_tokens=args.max_tokens,
                carrier=args.carrier or "cache",
                num_workers=workers,
                progress=False,
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


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--num_workers", type=int, help="processes that read photos ahead for ours; default: 4, on a CPU 0"
    )
    args = parse(parser, argv)
    results = run(args)
    measure.print_table(f"Files to rewards: {title(args)}", "query", results)
    measure.write(args.output, results)


if __name__ == "__main__":
    main()
