"""Earth's test queries, ranked by both sides in float32 and in bfloat16, for ``benchmarks.quality``."""

import argparse
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from benchmarks import naive
from benchmarks.inputs import Inputs, earth_inputs, encode
from benchmarks.measure import agreement
from benchmarks.models import load_ranker, with_language_head
from benchmarks.presets import EARTH_ADAPTER
from utils.candidates import Query, distances_km
from utils.evaluation.metrics import accuracy
from utils.geo_ranker import GeoRanker
from utils.geography.geodesy import THRESHOLDS_KM
from utils.jobs.files import write_json
from utils.jobs.progress import progress_bar
from utils.model.adapter_info import AdapterInfo

DTYPES = (torch.float32, torch.bfloat16)


@torch.inference_mode()
def ours(ranker: GeoRanker, inputs: Inputs, batch: int = 20) -> Iterator[np.ndarray]:
    """Rewards (candidates,) of each query."""
    queries, *stores = inputs
    for start in range(0, len(queries), batch):
        encoded, images = encode((queries[start : start + batch], *stores), ranker.packer)
        yield from (rewards.numpy() for rewards in ranker.score_queries(encoded, images, max_tokens=4096))


@torch.inference_mode()
def published(ranker: GeoRanker, inputs: Inputs) -> Iterator[np.ndarray]:
    """Rewards (candidates,) of each query."""
    stock, device = with_language_head(ranker), ranker.backbone.device
    for query in inputs[0]:
        batches = naive.batches(ranker, query, *inputs[1:])
        yield torch.cat([naive.rewards(stock, ranker, naive.to(prompts, device)) for prompts in batches]).cpu().numpy()


def accuracies(queries: Sequence[Query], rewards: Sequence[np.ndarray]) -> list[float]:
    """% of queries whose best-scored candidate lies within each of THRESHOLDS_KM."""
    return accuracy([distances_km(q)[r.argmax()] for q, r in zip(queries, rewards, strict=True)]).tolist()


def compare(args: argparse.Namespace) -> list[str]:
    """Rank with both sides in both precisions, print the tables and write the figures."""
    inputs = earth_inputs(args.queries, candidates=12, generated=3)
    rewards = {}
    for dtype, side in itertools.product(DTYPES, (ours, published)):
        ranker = load_ranker("earth", AdapterInfo.load(EARTH_ADAPTER).layout, dtype=dtype, device=args.device)
        name = f"{side.__name__}, {str(dtype).removeprefix('torch.')}"
        rewards[name] = list(progress_bar(side(ranker, inputs), desc=name, total=len(inputs[0]), unit="query"))

    table = {name: accuracies(inputs[0], found) for name, found in rewards.items()}
    reference, *others = rewards
    agreements = {name: agreement(rewards[name], rewards[reference]) for name in others}
    print_tables(table, agreements, reference)
    if args.output:
        write_json(args.output, {"accuracy": table, "agreement": agreements})
    return []


def print_tables(table: dict[str, list[float]], agreements: dict[str, dict[str, float]], reference: str) -> None:
    """Accuracies of each side, and how far its rewards are from those of ``reference``."""
    print(f"{'':24}" + "".join(f"{f'{km} km':>10}" for km in THRESHOLDS_KM))
    for name, row in table.items():
        print(f"{name:24}" + "".join(f"{value:>10.1f}" for value in row))
    for name, values in agreements.items():
        print(
            f"{name} against {reference}: largest difference {values['max_reward_difference']:.2g} at a standard "
            f"deviation of {values['reward_deviation']:.2g}, Spearman {values['spearman']:.4f}, same best candidate "
            f"in {values['same_best']:.1%}"
        )
