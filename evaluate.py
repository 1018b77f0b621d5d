"""Rank the candidates of a benchmark's queries, and report how near the answers are.

IM2GPS3K, as published:

    python evaluate.py --model_path=path_to_lora --dataset=im2gps3k --topn=12 --topn_zs=3 --batch_size=16

The embedded world: temperature and similarity weight fitted on validation queries, then the test queries:

    python evaluate.py --dataset earth --split val --topn 12 --topn_zs 3 --calibrate
    python evaluate.py --dataset earth --topn 12 --topn_zs 3

Without any model, which reads the candidate table only: `--ranker retrieval`. With several GPUs or processes:
`torchrun --nproc_per_node 4 evaluate.py ...` or `accelerate launch`. Interrupted, the same command goes on at
the next query.

Into --output_dir go metrics.json, predictions.csv (one row a query), error_curve.png, and the log of
rewards. A photo that cannot be read costs only itself: it is named, and the exit code is 1.
"""

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from utils.candidates import Query
from utils.cli.command import run_command
from utils.cli.flags import set_default_paths
from utils.data_paths import BENCHMARKS, check_files
from utils.decoding import METHODS
from utils.evaluation.cases import Case, picked_errors
from utils.evaluation.fit import fit_similarity_weight, fit_temperature
from utils.evaluation.predictions import predictions_table
from utils.evaluation.rankers import ranker_picks
from utils.evaluation.report import build_report
from utils.evaluation.report_text import format_report
from utils.evaluation.reward_log import RewardLog
from utils.evaluation.scoring import score_benchmark
from utils.figures.error_curve import error_curve
from utils.figures.style import save
from utils.geo_ranker import GeoRanker
from utils.jobs.files import atomic_path, write_json
from utils.jobs.processes import Processes, SharedWork
from utils.model.adapter_info import FILENAME, AdapterInfo
from utils.model.budget import MAX_TOKENS
from utils.model.features import EncodedPhotos, FeatureCache, shared_features
from utils.model.fingerprints import fingerprint
from utils.model.sharing import SHARINGS
from utils.photos.store import ImageStore
from utils.tables.candidate_table import read_candidate_table
from utils.tables.metadata import metadata_problems, read_metadata
from utils.tables.names import name_generated

SHOWN = 20  # problems printed
# Language tokens of one candidate's whole prompt with two photos of 500 x 375 pixels, rounded up.
TOKENS_PER_CANDIDATE = 1024


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    # Data
    add("--dataset", choices=BENCHMARKS, default="im2gps3k", help="benchmark; sets the defaults of all paths")
    add("--split", choices=("val", "test"), help="queries of --dataset earth; default: test")
    add("--candidates", help="candidate table (CSV)")
    add("--image_path", help="folder of the query photos")
    add("--image_data_path", help="tar or folder of the gallery photos")
    add("--tar_index_path", help="index of the tar, or released pickle; default: beside it")
    add("--topn", type=int, default=10, help="retrieved candidates of each query")
    add("--topn_zs", type=int, default=5, help="generated candidates of each query")
    add("--merge_km", type=float, default=0, help="drop candidates so near a better one, take further ones; 0: off")
    add(
        "--name_generated",
        action="store_true",
        help="give generated candidates the names of the nearest populated place; the published prompt gives none",
    )
    add("--num_queries", type=int, help="only the first so many queries of the table")
    # Ranker
    add(
        "--ranker",
        choices=("model", "retrieval", "consensus", "similarity", "random", "oracle"),
        default="model",
        help="whose picks are the predictions; all but `model` load no model",
    )
    add("--model", help="base model: hub name or folder")
    add("--model_path", help="adapter folder")
    add(
        "--decode",
        choices=METHODS,
        default="argmax",
        help="rewards -> place, see utils/decoding.py",
    )
    add(
        "--calibrate",
        action="store_true",
        help=f"fit temperature and similarity weight on these queries, into the adapter's {FILENAME}",
    )
    # Speed and memory
    add(
        "--batch_size",
        type=int,
        default=MAX_TOKENS // TOKENS_PER_CANDIDATE,
        help=f"candidates in a batch (%(default)s), if a candidate's prompt had {TOKENS_PER_CANDIDATE} tokens; of "
        "shorter prompts there are more, since memory follows tokens. A batch that does not fit is halved",
    )
    add(
        "--max_tokens",
        type=int,
        help=f"tokens in a batch; default: --batch_size times {TOKENS_PER_CANDIDATE}; see docs/speed.md",
    )
    add(
        "--dtype",
        choices=("float32", "bfloat16", "float16"),
        help="of the weights; default: float32 on a CPU, else as the base model is stored",
    )
    add("--device", help="default: the process's own GPU where there is one, else cpu")
    add("--attn_implementation", choices=("sdpa", "eager"))
    add("--sharing", choices=SHARINGS, default="prefix_cache", help="of a prompt's prefix, see utils/model/sharing.py")
    add(  # the older spelling
        "--carrier",
        dest="sharing",
        type=lambda name: {"cache": "prefix_cache", "packed": "packed_row"}.get(name, name),
        choices=SHARINGS,
        default=argparse.SUPPRESS,
        help=argparse.SUPPRESS,
    )
    add("--num_workers", type=int, help="processes that read photos ahead; default: 4, on a CPU 0")
    add(
        "--feature_cache",
        help="folder for the vision tower's features of the photos: later runs read them instead of the photos",
    )
    # Report
    add("--gallery_metadata", help="metadata CSV of the gallery, to report its density around the queries")
    add(
        "--train_metadata",
        nargs="+",
        help="metadata CSV(s) of training photos, to report accuracy by distance to the nearest",
    )
    add("--seed", type=int, default=0, help="of the random ranker and the bootstrap intervals")
    add("--output_dir", type=Path, help="default: outputs/evaluate/DATASET")
    args = parser.parse_args(arguments)

    for name, least in (
        ("topn", 0),
        ("topn_zs", 0),
        ("num_queries", 1),
        ("batch_size", 1),
        ("max_tokens", 1),
        ("merge_km", 0),
    ):
        value = getattr(args, name)
        if value is not None and not value >= least:
            parser.error(f"--{name} is {value}: it is at least {least}")
    if args.split is not None and args.dataset != "earth":
        parser.error(f"--dataset {args.dataset} has no splits: leave --split out")
    if args.dataset == "earth":
        args.split = args.split or "test"
    if args.calibrate and (args.split == "test" or (args.split is None and args.candidates is None)):
        parser.error(
            "calibrating on test queries would spoil the test: use --dataset earth --split val, or name validation "
            "queries of your own with --candidates"
        )
    if args.calibrate and args.ranker != "model":
        parser.error("--calibrate needs --ranker model")

    defaults = set_default_paths(args, parser)
    args.gallery_metadata = args.gallery_metadata or defaults.gallery_metadata
    args.train_metadata = args.train_metadata or list(defaults.train_metadata)
    args.max_tokens = args.max_tokens or args.batch_size * TOKENS_PER_CANDIDATE
    if args.output_dir is None:
        args.output_dir = Path("outputs/evaluate", "-".join(filter(None, (args.dataset, args.split))))
    if args.ranker == "model" and args.model_path is None:
        parser.error("--ranker model needs --model_path, the folder of an adapter")
    return args


def needed_files(args: argparse.Namespace) -> list[tuple[str, str | None]]:
    """(flag, path) of what the report is made from; None where nothing is needed."""
    files = [("candidates", args.candidates), ("gallery_metadata", args.gallery_metadata)]
    files += [("train_metadata", path) for path in args.train_metadata]
    if args.ranker == "model":
        files += [(name, getattr(args, name)) for name in ("image_path", "image_data_path", "tar_index_path")]
        files.append(("model_path", os.path.join(args.model_path, "adapter_config.json")))
        # A base model may also be a name on the hub.
        files.append(("model", args.model if args.model.startswith("checkpoints/") else None))
    return files


def adapter_info(args: argparse.Namespace) -> AdapterInfo:
    if Path(args.model_path, FILENAME).exists():
        return AdapterInfo.load(args.model_path)
    return AdapterInfo(args.model)


def score(
    args: argparse.Namespace, queries: Sequence[Query], info: AdapterInfo, photos: ImageStore, gallery: ImageStore
) -> tuple[list[Case], list[str]] | None:
    """Score the queries together with the other processes. None in all processes but the first."""
    processes = Processes.from_environment()
    device = args.device or (f"cuda:{processes.local_rank}" if torch.cuda.is_available() else "cpu")
    # On a CPU the model takes all cores, and nothing is won by reading ahead.
    workers = args.num_workers if args.num_workers is not None else 0 if device == "cpu" else 4
    names = ("image_path", "image_data_path", "tar_index_path", "dtype", "attn_implementation", "sharing")
    settings = {"device": torch.device(device).type} | {name: getattr(args, name) for name in names}
    log = RewardLog(args.output_dir, fingerprint(args.model, args.model_path, info, settings), processes.rank)

    rewards = {number: found for number, query in enumerate(queries) if (found := log.get(query)) is not None}
    remaining = {number: query for number, query in enumerate(queries) if number not in rewards}
    scored, problems = {}, []
    if remaining:
        if rewards and processes.rank == 0:
            print(f"{len(rewards)} of {len(queries)} queries are scored already", file=sys.stderr)
        ranker = GeoRanker.from_pretrained(
            args.model,
            args.model_path,
            dtype=args.dtype and getattr(torch, args.dtype),
            device=device,
            attn_implementation=args.attn_implementation,
        )
        scored, problems = score_benchmark(
            ranker,
            remaining,
            *encoded_photos(args.feature_cache, ranker, remaining.values(), photos, gallery, processes, workers),
            log,
            max_tokens=args.max_tokens,
            sharing=args.sharing,
            num_workers=workers,
            work=SharedWork(range(len(queries)), processes, "queries"),
        )

    shares = processes.gather((scored, problems))
    if shares is None:
        return None
    for scored, _ in shares:
        rewards |= scored
    problems = sorted((problem for _, part in shares for problem in part), key=lambda problem: problem.query)
    unknown = set(range(len(queries))) - rewards.keys() - {problem.query for problem in problems}
    if unknown:
        sys.exit(f"{len(unknown)} queries are in another machine's log: --output_dir must be a folder that all share")
    cases = [scored_case(queries[position], rewards[position]) for position in sorted(rewards)]
    return cases, [problem.message for problem in problems]


def encoded_photos(
    cache: str | None,
    ranker: GeoRanker,
    queries: Iterable[Query],
    photos: ImageStore,
    gallery: ImageStore,
    processes: Processes,
    workers: int,
) -> list[EncodedPhotos | FeatureCache]:
    """Photos of queries and gallery as the ranker takes them, decoded or from the feature cache."""
    if cache is None:
        return [EncodedPhotos(store, ranker.packer) for store in (photos, gallery)]
    queries = list(queries)
    shown = {
        "query photos": (photos, [query.image for query in queries]),
        "gallery photos": (gallery, [c.image for query in queries for c in query.candidates if c.image]),
    }
    # What is wrong with a photo is said where it is missed.
    return [
        shared_features(cache, ranker.backbone, ranker.packer, store, ids, processes, workers, name)[0]
        for name, (store, ids) in shown.items()
    ]


def scored_case(query: Query, rewards: np.ndarray) -> Case:
    """The query without the candidates that could not be scored (NaN), for every ranker alike."""
    kept = np.flatnonzero(~np.isnan(rewards))
    candidates = tuple(query.candidates[number] for number in kept)
    return Case(replace(query, candidates=candidates), rewards[kept])


def calibrate(cases: Sequence[Case], info: AdapterInfo) -> AdapterInfo:
    """``info`` with temperature and similarity weight fitted on ``cases``."""
    temperature = fit_temperature([(case.rewards, case.distances) for case in cases])
    weight, _ = fit_similarity_weight([(case.rewards, case.similarities, case.distances) for case in cases])
    return replace(info, temperature=temperature, similarity_weight=weight)


def coordinates(paths: Sequence[str], problems: list[str]) -> np.ndarray | None:
    """(photos, 2) degrees of metadata tables, None without tables; rows without go to ``problems``."""
    tables = [read_metadata(path) for path in paths]
    for path, table in zip(paths, tables, strict=True):
        problems += metadata_problems(path, table)
    points = [table[["LAT", "LON"]].dropna().to_numpy() for table in tables]
    return np.concatenate(points) if points else None


def evaluate(args: argparse.Namespace) -> list[str]:
    """Score, report and write; returns what could not be used."""
    check_files(needed_files(args))
    queries, problems = read_candidate_table(args.candidates, args.topn, args.topn_zs, merge_km=args.merge_km)
    gallery_points = coordinates([args.gallery_metadata] if args.gallery_metadata else [], problems)
    training_points = coordinates(args.train_metadata, problems)
    if args.ranker == "model":
        photos = ImageStore.from_paths([args.image_path])
        gallery = ImageStore.from_paths([args.image_data_path], args.tar_index_path)
    info = adapter_info(args) if args.ranker == "model" else AdapterInfo(args.model)
    queries = queries[: args.num_queries]
    if args.name_generated:
        queries = name_generated(queries)
    if args.ranker == "model":
        scored = score(args, queries, info, photos, gallery)
        if scored is None:  # the first process reports
            return []
        cases, lost = scored
        problems += lost
    elif Processes.from_environment().rank > 0:
        return []
    else:
        cases = [Case(query) for query in queries]
    if not cases:
        raise ValueError("\n".join([f"{args.candidates}: no query left to report on", *problems]))
    if args.calibrate:
        info = calibrate(cases, info)
        info.save(args.model_path)

    picks = ranker_picks(cases, temperature=info.temperature, similarity_weight=info.similarity_weight, seed=args.seed)
    prediction = METHODS[args.decode].ranker if args.ranker == "model" else args.ranker
    if prediction not in picks:
        raise ValueError(f"no candidate of {args.candidates} has a similarity: {prediction} has nothing to go by")
    report = {
        "dataset": args.dataset,
        "split": args.split,
        **build_report(
            cases,
            picks,
            prediction=prediction,
            temperature=info.temperature,
            similarity_weight=info.similarity_weight,
            seed=args.seed,
            gallery=gallery_points,
            training=training_points,
        ),
        "settings": {name: str(value) for name, value in vars(args).items()},
        "problems": problems,
    }
    write(args.output_dir, report, cases, picks)

    print(f"{args.dataset}{f' ({args.split})' if args.split else ''}: {format_report(report)}")
    if args.calibrate:
        print(
            f"\nTemperature {info.temperature:.4g} and similarity weight {info.similarity_weight:.4g} "
            f"are now in {Path(args.model_path, FILENAME)}."
        )
    print(f"\n{args.output_dir}: metrics.json, predictions.csv, error_curve.png")
    return problems if len(problems) <= SHOWN else [*problems[:SHOWN], f"{len(problems) - SHOWN} more, in metrics.json"]


def write(folder: Path, report: dict, cases: Sequence[Case], picks: dict[str, np.ndarray]) -> None:
    """metrics.json, predictions.csv and error_curve.png."""
    write_json(folder / "metrics.json", report)
    with atomic_path(folder / "predictions.csv") as path:
        predictions_table(cases, picks, report["prediction"]).to_csv(path, index=False)
    first = report["prediction"]
    order = [first, *(name for name in picks if name != first)]
    save(error_curve({name: picked_errors(cases, picks[name]) for name in order}), folder / "error_curve.png")


def main() -> int:
    args = parse_arguments()
    return run_command(lambda: evaluate(args))


if __name__ == "__main__":
    sys.exit(main())
