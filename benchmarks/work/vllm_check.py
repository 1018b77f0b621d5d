"""Both engines on the same queries, for ``benchmarks.vllm_check``."""

import argparse
import itertools
import logging
import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
import transformers

from benchmarks.inputs import Inputs, earth_inputs, encode, synthetic_inputs
from benchmarks.measure import agreement, machine, write
from benchmarks.presets import EARTH_ADAPTER, EARTH_BASE
from benchmarks.work.vllm_models import save_random
from benchmarks.work.vllm_server import VllmServer, serving
from utils.candidates import Query
from utils.evaluation.by_server import score_by_server
from utils.evaluation.reward_log import RewardLog
from utils.evaluation.scoring import score_benchmark
from utils.geo_ranker import GeoRanker
from utils.model.adapter_info import adapter_info
from utils.model.budget import MAX_TOKENS
from utils.model.features import EncodedPhotos
from utils.model.prompts import LAYOUTS, Part
from utils.serving.identity import reward_label
from utils.serving.reward_server import RewardServer, ask_served
from utils.serving.vllm_checkpoint import write_vllm_checkpoint

logger = logging.getLogger(__name__)

SHOWN: tuple[tuple[Part, ...], ...] = ((), ("images",))  # what prompts leave out
LOGS = Path("outputs/vllm-check")
QUERIES_AT_ONCE = 16
RESIZED = {"photo": (640, 480), "candidate_photo": (500, 375)}
UNRESIZED = {"photo": (336, 252), "candidate_photo": (224, 168)}  # what the tower takes as it is
Rewards = dict[int, np.ndarray]  # by position of the query


def run(args: argparse.Namespace) -> None:
    """Measure all of ``args.models`` and print a table of each."""
    torch.set_num_threads(args.threads)
    transformers.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()  # it lists the head that no ranker has, for each of them
    LOGS.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {"machine": machine(torch.device("cpu"))}
    for model in args.models:
        with tempfile.TemporaryDirectory() as folder:
            results[model] = measure(args, model, Path(folder))
        print_table(model, results[model])
        write(args.output, results)


def measure(args: argparse.Namespace, model: str, folder: Path) -> list[dict[str, Any]]:
    """A row of figures for each layout, with and without the candidates' photos."""
    name, _, variant = model.partition("-")
    base, adapter = (Path(EARTH_BASE), Path(EARTH_ADAPTER)) if name == "earth" else save_random(folder, name)
    # The layout is the client's, so one server serves both.
    rankers = {
        (layout, omit): GeoRanker.from_pretrained(base, adapter, layout=layout, omit=omit, device="cpu")
        for layout, omit in itertools.product(LAYOUTS, SHOWN)
    }
    sizes = UNRESIZED if variant == "unresized" else RESIZED
    inputs = make_inputs(args, name, next(iter(rankers.values())), folder, sizes)
    write_vllm_checkpoint(adapter, folder / "served", base)
    known_as = reward_label(adapter, adapter_info(adapter, base))
    dtype, log = "bfloat16" if variant == "bfloat16" else "float32", LOGS / f"{model}.log"
    logger.info("%s: vLLM starts, which takes a minute or more; what it says goes into %s", model, log)
    with serving(args.python, folder / "served", dtype, free_port(), log) as server:
        ((label, _),) = ask_served([RewardServer(server.url, known_as)]).values()
        ask(server, label, next(iter(rankers.values())), (inputs[0][:2], *inputs[1:]), folder)  # warms it up
        return [
            {"layout": layout, "omit": list(omit), **side_by_side(server, label, ranker, inputs, folder)}
            for (layout, omit), ranker in rankers.items()
        ]


def make_inputs(
    args: argparse.Namespace, name: str, ranker: GeoRanker, folder: Path, sizes: dict[str, tuple[int, int]]
) -> Inputs:
    """12 + 3 candidates a query: Earth's, whose photos are never resized, or synthetic ones of these ``sizes``."""
    if name == "earth":
        return earth_inputs(args.queries, candidates=12, generated=3)
    return synthetic_inputs(
        folder / "photos", ranker.packer.tokenizer, count=args.queries, candidates=12, generated=3, **sizes
    )


def side_by_side(server: VllmServer, label: str, ranker: GeoRanker, inputs: Inputs, folder: Path) -> dict[str, Any]:
    """Rewards, tokens and seconds of both engines."""
    shown = "without" if ranker.info.omit else "with"
    logger.info("%s, %s the candidates' photos: first vLLM, then ours", ranker.info.layout, shown)
    server.forget()
    before = server.metrics()
    theirs, their_times = timed(lambda: ask(server, label, ranker, inputs, folder), server)
    counted = {name: value - before.get(name, 0) for name, value in server.metrics().items()}
    ours, our_times = timed(lambda: score(ranker, inputs, folder))
    return agreement(list(ours.values()), list(theirs.values())) | {
        "prompt_tokens": {"ours": prompt_tokens(ranker, inputs), "vllm": int(counted["prefix_cache_queries_total"])},
        "from_prefix_cache": counted["prefix_cache_hits_total"] / counted["prefix_cache_queries_total"],
        "shared": shared_tokens(ranker, inputs),
        "seconds": {"ours": our_times, "vllm": their_times},
    }


def timed(work: Callable[[], Rewards], server: VllmServer | None = None) -> tuple[Rewards, dict[str, float]]:
    """What ``work`` returns, and seconds a query, of a clock and of all processors; those of the server, too."""

    def used() -> float:
        own = psutil.Process().cpu_times()
        return own.user + own.system + (server.cpu_seconds() if server else 0)

    start, before = time.perf_counter(), used()
    rewards = work()
    seconds = {"clock": time.perf_counter() - start, "processors": used() - before}
    return rewards, {name: value / len(rewards) for name, value in seconds.items()}


def ask(server: VllmServer, label: str, ranker: GeoRanker, inputs: Inputs, folder: Path) -> Rewards:
    """Rewards of vLLM, as evaluate.py gets them."""
    queries, *stores = inputs
    client = RewardServer(server.url, label)
    with fresh_log(folder) as log:
        return whole(score_by_server([client], ranker.info, numbered(queries), *stores, log, QUERIES_AT_ONCE))


def score(ranker: GeoRanker, inputs: Inputs, folder: Path) -> Rewards:
    """Ours, as evaluate.py computes them."""
    queries, *stores = inputs
    photos = [EncodedPhotos(store, ranker.packer) for store in stores]
    with fresh_log(folder) as log:
        return whole(score_benchmark(ranker, numbered(queries), *photos, log, max_tokens=MAX_TOKENS))


def fresh_log(folder: Path) -> RewardLog:
    return RewardLog(Path(tempfile.mkdtemp(dir=folder)), "")


def numbered(queries: list[Query]) -> Mapping[int, Query]:
    return dict(enumerate(queries))


def whole(found: tuple[Rewards, list]) -> Rewards:
    """Rewards in the order of the queries. Raises ``RuntimeError`` for what could not be scored."""
    rewards, problems = found
    if problems:
        raise RuntimeError(f"{len(problems)} could not be scored, the first: {problems[0].message}")
    return dict(sorted(rewards.items()))


def prompt_tokens(ranker: GeoRanker, inputs: Inputs) -> int:
    """Of all candidates' whole prompts."""
    return sum(
        len(query.prefix.ids) + len(suffix.ids) for query in tokenized(ranker, inputs) for suffix in query.suffixes
    )


def shared_tokens(ranker: GeoRanker, inputs: Inputs) -> float:
    """The share of them that stands in a prefix which another candidate of the query had before."""
    again = sum(len(query.prefix.ids) * (len(query.suffixes) - 1) for query in tokenized(ranker, inputs))
    return again / prompt_tokens(ranker, inputs)


def tokenized(ranker: GeoRanker, inputs: Inputs) -> list:
    queries, images = encode(inputs, ranker.packer)
    return [ranker.packer.tokenize(query, images) for query in queries]


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def print_table(model: str, rows: list[dict[str, Any]]) -> None:
    print(f"\n{model}: rewards of vLLM against ours, and seconds a query")
    print(
        f"{'layout':16}{'photos':>8}{'largest diff':>14}{'deviation':>11}{'Spearman':>10}{'same best':>11}"
        f"{'tokens':>16}{'cached':>8}{'shared':>8}{'clock':>16}{'processors':>16}"
    )
    for row in rows:
        tokens, seconds = row["prompt_tokens"], row["seconds"]
        same = "equal" if tokens["ours"] == tokens["vllm"] else f"{tokens['vllm'] - tokens['ours']:+}"
        times = "".join(
            f"{seconds['vllm'][name]:>9.3f} /{seconds['ours'][name]:>5.3f}" for name in ("clock", "processors")
        )
        print(
            f"{row['layout']:16}{'no' if row['omit'] else 'yes':>8}{row['max_reward_difference']:>14.2g}"
            f"{row['reward_deviation']:>11.2g}{row['spearman']:>10.5f}{row['same_best']:>11.1%}"
            f"{tokens['ours']:>9,} {same:>6}{row['from_prefix_cache']:>8.1%}{row['shared']:>8.1%}{times}"
        )
