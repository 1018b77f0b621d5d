"""Rank the candidates of a benchmark's queries, and report how near the answers are.

IM2GPS3K, as published:

    python evaluate.py --model_path=path_to_lora --dataset=im2gps3k --topn=12 --topn_zs=3 --batch_size=16

The embedded world: what rewards are worth, fitted on queries that nothing was chosen by; then the test queries:

    python evaluate.py --dataset earth --split calibration --topn 12 --topn_zs 3 --calibrate
    python evaluate.py --dataset earth --topn 12 --topn_zs 3

Without any model, which reads the candidate table only: `--ranker retrieval`. With several GPUs or processes:
`torchrun --nproc_per_node 4 evaluate.py ...` or `accelerate launch`; several machines: docs/nodes.md. Interrupted, the
same command goes on at the next query. With rewards from a vLLM server, see docs/serving.md:

    python evaluate.py --dataset earth --topn 12 --topn_zs 3 --backend vllm --base_url http://localhost:8000

Into --output_dir go metrics.json, predictions.csv (one row a query), error_curve.png, reliability.png (where confidence
is stated: the adapter was calibrated on such candidates, by --calibrate on other queries; --ranker consensus has a file
of its own, --calibration), and the log of rewards. A photo that cannot be read costs only itself: it is named, and the
exit code is 1.
"""

import argparse
import functools
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils.cli.command import first_of, run_command
from utils.cli.flags import (
    add_candidate_choice,
    add_device,
    add_gallery_photos,
    add_quantize,
    add_vision_attention,
    add_workers,
    at_least,
    attention,
    check_candidate_choice,
    check_quantize,
    check_vision_attention,
    positive,
    script_parser,
    set_default_paths,
)
from utils.cli.given import given_flags, refuse
from utils.data_paths import BENCHMARKS, EARTH_SPLITS, REPORTED_SPLITS, check_files
from utils.decoding import METHODS, WITHOUT_RANKER
from utils.geography.osv5m_areas import PACKAGE
from utils.jobs.outputs import check_outputs
from utils.jobs.packages import check_package
from utils.jobs.processes import Processes
from utils.model.adapter_info import FILENAME, AdapterInfo, adapter_info
from utils.model.budget import MAX_TOKENS, TOKENS_PER_CANDIDATE
from utils.model.sharing import SHARINGS
from utils.servers.errors import ServerError

if TYPE_CHECKING:
    import numpy as np

    from utils.calibration import Sources
    from utils.candidates import Query
    from utils.evaluation.cases import Case
    from utils.evaluation.results import Problem

logger = logging.getLogger("scripts")

SECRET = ("api_key", "base_url")  # an address may have a password in it
FLAGS_OF = {
    "local": (
        *("batch_size", "max_tokens", "dtype", "quantize", "device", "attn_implementation", "vision_attn", "sharing"),
        *("num_workers", "feature_cache"),
    ),
    "vllm": ("base_url", "model_name", "api_key", "process", "timeout"),
}


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__)
    add = parser.add_argument
    # Data
    add("--dataset", choices=BENCHMARKS, default="im2gps3k", help="benchmark; sets the defaults of all paths")
    add("--split", choices=EARTH_SPLITS, help="queries of --dataset earth; default: test")
    add("--candidates", help="candidate table (CSV)")
    add("--image_path", help="folder of the query photos")
    add_gallery_photos(add)
    add_candidate_choice(add, topn=10, topn_zs=5)
    add(
        "--name_generated",
        action="store_true",
        help="give generated candidates the names of the nearest populated place; the published prompt gives none",
    )
    add("--num_queries", type=at_least(1), help="only the first so many queries of the table")
    # Ranker
    add(
        "--ranker",
        choices=("model", "retrieval", "consensus", "consensus_equal", "similarity", "geoclip", "random", "oracle"),
        default="model",
        help="whose picks are the predictions; all but `model` load no model",
    )
    add("--model", help="base model: hub name or folder")
    add("--model_path", help="adapter folder")
    add(
        "--backend",
        choices=("local", "vllm"),
        default="local",
        help="who computes --ranker model's rewards (%(default)s)",
    )
    add(
        "--decode",
        choices=list(METHODS),
        default="argmax",
        help="rewards -> place, see utils/decoding.py",
    )
    add(
        "--calibrate",
        action="store_true",
        help=f"fit temperature, similarity weight, confidence and regions on these queries, into {FILENAME}",
    )
    add(
        "--calibration",
        help=f"confidence and regions of --ranker {' or '.join(WITHOUT_RANKER)}: a file of tools.fit_consensus, for "
        "candidates of the retriever and the guessing model that it names; default: that of --dataset earth",
    )
    # Speed and memory
    add(
        "--batch_size",
        type=at_least(1),
        default=MAX_TOKENS // TOKENS_PER_CANDIDATE,
        help=f"candidates in a batch (%(default)s), if a candidate's prompt had {TOKENS_PER_CANDIDATE} tokens; of "
        "shorter prompts there are more, since memory follows tokens. A batch that does not fit is halved",
    )
    add(
        "--max_tokens",
        type=at_least(1),
        help=f"tokens in a batch; default: --batch_size times {TOKENS_PER_CANDIDATE}; see docs/speed.md",
    )
    add(
        "--dtype",
        choices=("float32", "bfloat16", "float16"),
        help="of the weights; default: float32 on a CPU, else as the base model is stored",
    )
    add_quantize(add)
    add_device(add)
    add("--attn_implementation", choices=("sdpa", "eager"))
    add_vision_attention(add)
    add("--sharing", choices=SHARINGS, default="prefix_cache", help="of a prompt's prefix, see utils/model/sharing.py")
    add(  # the older spelling
        "--carrier",
        dest="sharing",
        type=lambda name: {"cache": "prefix_cache", "packed": "packed_row"}.get(name, name),
        choices=SHARINGS,
        default=argparse.SUPPRESS,
        help=argparse.SUPPRESS,
    )
    add_workers(add, help="processes that read photos ahead; default: 4, on a CPU 0")
    add(
        "--feature_cache",
        help="folder for the vision tower's features of the photos: later runs read them instead of the photos",
    )
    # --backend vllm
    add("--base_url", nargs="+", help="of one or several vLLM servers of this adapter, with or without /v1")
    add("--model_name", help="the server's name of the model; default: whichever it serves")
    add("--api_key", help="default: the environment's VLLM_API_KEY, or none")
    add("--process", type=at_least(1), default=16, help="queries asked about at a time (%(default)s)")
    add("--timeout", type=positive, default=120, help="seconds a request may take (%(default)s)")
    # Report
    add("--gallery", "--gallery_metadata", help="metadata CSV of the gallery, to report its density around the queries")
    add(
        "--train_metadata",
        nargs="+",
        help="metadata CSV(s) of training photos, to report accuracy by distance to the nearest",
    )
    add(
        "--areas",
        help="OSV-5M's table of the queries, to report how often an answer lies in the country, region, sub-region and "
        "city of the truth; default: that of --dataset osv5m",
    )
    add(
        "--leave_out",
        help="table of queries (IMG_ID, reason), as tools.audit_benchmark writes it: the report has all queries, and "
        "the same figures without these",
    )
    add("--seed", type=int, default=0, help="of the random ranker and the bootstrap intervals")
    add("--output_dir", type=Path, help="default: outputs/evaluate/DATASET")
    args = parser.parse_args(arguments)

    given = given_flags(parser, arguments, args)
    check_backend(args, parser, given)
    check_use(args, parser, given)
    try:
        check_vision_attention(args)
        check_quantize(args)
        if args.areas is not None:
            check_package("areas", PACKAGE, "osv5m")
    except ValueError as error:
        parser.error(str(error))

    own_table = args.candidates is not None
    defaults = set_default_paths(args, parser)
    # Nobody knows the gallery of a table that somebody brings, unless it is said.
    args.candidates_of = args.gallery if own_table else args.gallery or defaults.gallery_metadata
    args.gallery = args.gallery or defaults.gallery_metadata
    if args.ranker in WITHOUT_RANKER and not own_table:
        args.calibration = args.calibration or defaults.vote_calibration
    args.train_metadata = args.train_metadata or list(defaults.train_metadata)
    args.max_tokens = args.max_tokens or args.batch_size * TOKENS_PER_CANDIDATE
    if args.output_dir is None:
        args.output_dir = Path("outputs/evaluate", "-".join(filter(None, (args.dataset, args.split))))
    if args.ranker == "model" and args.model_path is None:
        parser.error("--ranker model needs --model_path, the folder of an adapter")
    return args


def check_backend(args: argparse.Namespace, parser: argparse.ArgumentParser, given: set[str]) -> None:
    """Refuse flags of the other backend, and what this one cannot do."""
    other = "vllm" if args.backend == "local" else "local"
    refuse(parser, given, FLAGS_OF[other], f"with --backend {args.backend}")
    if args.backend == "local":
        return
    if args.ranker != "model":
        parser.error(f"--backend vllm: no use with --ranker {args.ranker}: it is the model's")
    if not args.base_url:
        parser.error("--backend vllm needs --base_url")
    if Processes.from_environment().count > 1:
        parser.error(
            "--backend vllm runs in one process: start evaluate.py once, without a launcher, with a higher --process "
            "for more requests in flight, and all servers in --base_url"
        )


def check_use(args: argparse.Namespace, parser: argparse.ArgumentParser, given: set[str]) -> None:
    """Refuse flags that have no effect beside the others or leave nothing, and calibrating that would spoil a test."""
    check_candidate_choice(args, parser)
    if args.ranker != "model":
        useless = ("decode", "name_generated", "quantize")
        refuse(parser, given, useless, f"with --ranker {args.ranker}: they are the model's")
    if args.max_tokens is not None:
        refuse(parser, given, ("batch_size",), "with --max_tokens, which says the same")
    if args.split is not None and args.dataset != "earth":
        parser.error(f"--dataset {args.dataset} has no splits: leave --split out")
    if args.dataset == "earth":
        args.split = args.split or "test"
    if args.calibrate and (args.split in REPORTED_SPLITS or (args.split is None and args.candidates is None)):
        parser.error(
            "calibrating on test queries would spoil the test: use --dataset earth --split calibration, or name "
            "validation queries of your own with --candidates"
        )
    if args.calibrate:
        refuse(parser, given, ("quantize",), "with --calibrate: what is fitted holds for weights as they are")
        refuse(parser, given, ("leave_out",), "with --calibrate, which fits on all queries")
    if args.calibrate and args.ranker != "model":
        parser.error("--calibrate needs --ranker model; python -m tools.fit_consensus calibrates votes without one")
    if args.calibration and args.ranker not in WITHOUT_RANKER:
        parser.error(f"--calibration is for --ranker {' or '.join(WITHOUT_RANKER)}")


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    stopped = "stopped; what is scored is kept, and the same command goes on from there"
    return run_command(lambda: evaluate(args), ServerError, quiet=args.quiet, stopped=stopped)


def evaluate(args: argparse.Namespace) -> list[str]:
    """Read, score and report; returns what could not be used."""
    choose_areas(args)
    check_files(needed_files(args))
    fitted = args.model_path if args.calibrate else None
    names = ("output_dir", args.output_dir), ("feature_cache", args.feature_cache), ("model_path", fitted)
    check_outputs(folders=[(f"--{name}", path) for name, path in names])

    from utils.evaluation.cases import Case

    info = adapter_info(args.model_path, args.model) if args.ranker == "model" else AdapterInfo(args.model)
    queries, problems = read_queries(args)
    points, unusable = read_photo_points(args)
    areas, more = read_query_areas(args, queries)
    problems += unusable + more
    reasons = read_left_out(args)
    scored = score(args, queries, info) if args.ranker == "model" else ([Case(query) for query in queries], [])
    if scored is None or not Processes.from_environment().concludes:
        return []
    cases, lost = scored
    problems += lost
    if not cases and queries:
        raise ValueError("\n".join([f"none of the {len(queries):,} queries could be scored", *first_of(lost)]))
    if not cases:
        raise ValueError("\n".join([f"{args.candidates}: no query left to report on", *first_of(problems)]))
    report_on(args, info, cases, points, areas, reasons, problems)
    return first_of(problems, ", in metrics.json")


def choose_areas(args: argparse.Namespace) -> None:
    """Take the areas of the data set where they are not named; without their package say what the report lacks."""
    default = BENCHMARKS[args.dataset].areas
    if args.areas is None and default is not None:
        try:
            check_package("accuracy by country, region, sub-region and city", PACKAGE, "osv5m")
            args.areas = default
        except ValueError as error:
            logger.warning("%s", error)


def report_on(
    args: argparse.Namespace,
    info: AdapterInfo,
    cases: "Sequence[Case]",
    points: "dict[str, np.ndarray | None]",
    areas: dict[str, tuple[str, ...]] | None,
    reasons: dict[str, list[str]] | None,
    problems: list[str],
) -> None:
    """Calibrate if asked to, write the report and print it.

    ``points`` are those of gallery and training photos, ``areas`` labels of the truths, and ``reasons`` those to leave
    queries out, see ``read_areas`` and ``read_left_out``.
    """
    from utils.decider import Decider
    from utils.evaluation.area_accuracy import area_accuracy
    from utils.evaluation.fit_calibration import calibrated
    from utils.evaluation.left_out import LeftOut
    from utils.evaluation.rankers import ranker_picks
    from utils.evaluation.report import build_report
    from utils.evaluation.report_files import write_evaluation
    from utils.evaluation.report_text import format_report
    from utils.evaluation.stated import stated_of

    left_out = LeftOut.of(args.leave_out, reasons, cases) if reasons is not None else None
    if args.calibrate:
        info = calibrated(cases, info, sources(args))
        info.save(args.model_path)
    fitted = {"temperature": info.temperature, "similarity_weight": info.similarity_weight, "seed": args.seed}
    picks = ranker_picks(cases, **fitted)
    decider = Decider.of(args.ranker, info, args.decode, args.calibration, args.quantize is not None)
    prediction = args.ranker if decider is None else decider.ranker
    if prediction not in picks:
        what = "cosine of GeoCLIP" if prediction == "geoclip" else "similarity"
        raise ValueError(f"no candidate of {args.candidates} has a {what}: {prediction} has nothing to go by")
    stated = None
    if decider is not None and not args.calibrate:  # of the queries that it was fitted on, it would be too right
        stated = stated_of(decider, sources(args), cases, picks[prediction])
    about = {"dataset": args.dataset, "split": args.split}
    report = about | build_report(cases, picks, prediction=prediction, stated=stated, **points, **fitted)
    settings = {name: str(value) for name, value in vars(args).items() if name not in SECRET}
    report |= {"settings": settings, "problems": problems}
    if areas is not None:
        report["areas"] = area_accuracy(cases, picks, areas)
    if left_out is not None:
        kept = left_out.kept(picks)
        others = None if stated is None else stated_of(decider, sources(args), left_out.cases, kept[prediction])
        report["leave_out"] = left_out.about() | build_report(
            left_out.cases, kept, prediction=prediction, stated=others, **points, **fitted
        )
    files = write_evaluation(args.output_dir, report, cases, picks, stated)

    print(f"{args.dataset}{f' ({args.split})' if args.split else ''}: {format_report(report)}")
    if args.calibrate:
        print(
            f"\nTemperature {info.temperature:.4g} and similarity weight {info.similarity_weight:.4g} "
            f"are now in {Path(args.model_path, FILENAME)}."
        )
        if info.calibration is None:
            print("No confidence was fitted: that takes more queries.")
    print(f"\n{args.output_dir}: {', '.join(files)}")


def needed_files(args: argparse.Namespace) -> list[tuple[str, str | None]]:
    """(flag, path) of what the report is made from; None where nothing is needed."""
    files = [("candidates", args.candidates), ("gallery", args.gallery), ("calibration", args.calibration)]
    files += [("train_metadata", path) for path in args.train_metadata]
    files += [("areas", args.areas), ("leave_out", args.leave_out)]
    if args.ranker == "model":
        files += [(name, getattr(args, name)) for name in ("image_path", "image_data_path", "tar_index_path")]
        files.append(("model_path", os.path.join(args.model_path, "adapter_config.json")))
        # A base model may also be a name on the hub; a server has its own.
        own = args.backend == "local" and args.model.startswith("checkpoints/")
        files.append(("model", args.model if own else None))
    return files


def read_queries(args: argparse.Namespace) -> "tuple[list[Query], list[str]]":
    """The queries of the candidate table, and problems."""
    from utils.tables.candidate_table import read_candidate_table
    from utils.tables.names import name_generated

    queries, problems = read_candidate_table(args.candidates, args.topn, args.topn_zs, merge_km=args.merge_km)
    queries = queries[: args.num_queries]
    return (name_generated(queries) if args.name_generated else queries), problems


def read_photo_points(args: argparse.Namespace) -> "tuple[dict[str, np.ndarray | None], list[str]]":
    """Where the photos of gallery and training lie, None where they are unknown; and problems."""
    from utils.tables.metadata import read_points

    gallery, unusable = read_points([args.gallery] if args.gallery else [])
    training, more = read_points(args.train_metadata)
    return {"gallery": gallery, "training": training}, unusable + more


def read_query_areas(
    args: argparse.Namespace, queries: "Sequence[Query]"
) -> tuple[dict[str, tuple[str, ...]] | None, list[str]]:
    """The areas that the queries lie in, None where no table has them; and problems."""
    from utils.tables.osv5m import read_areas

    return (None, []) if args.areas is None else read_areas(args.areas, [query.image for query in queries])


def read_left_out(args: argparse.Namespace) -> dict[str, list[str]] | None:
    """The queries to leave out and why, see ``read_reasons``; None where it names none, as after a clean audit."""
    from utils.tables.leak_table import read_reasons

    reasons = {} if args.leave_out is None else read_reasons(args.leave_out)
    if args.leave_out is not None and not reasons:
        logger.info("%s has no rows: no query is left out", args.leave_out)
    return reasons or None


def score(
    args: argparse.Namespace, queries: "Sequence[Query]", info: AdapterInfo
) -> "tuple[list[Case], list[str]] | None":
    """Score the queries together with the other processes. None in all of them but the one that reports."""
    from utils.evaluation.resumed import score_missing
    from utils.evaluation.reward_log import RewardLog
    from utils.evaluation.shown_photos import ShownPhotos
    from utils.model.fingerprints import fingerprint
    from utils.photos.store import ImageStore

    processes = Processes.from_environment()
    photos = ImageStore.from_paths([args.image_path])
    gallery = ImageStore.from_paths([args.image_data_path], args.tar_index_path)
    if args.backend == "vllm":
        settings, score_with = vllm_engine(args, info)
    else:
        settings, score_with = local_engine(args, processes.local_rank, len(queries))
    settings |= {name: getattr(args, name) for name in ("image_path", "image_data_path", "tar_index_path")}
    scorer = fingerprint(args.model, args.model_path, info, settings)
    with RewardLog(args.output_dir, scorer, processes.rank, ShownPhotos(photos, gallery)) as log:
        return score_missing(
            queries, log, processes, lambda missing, sharers: score_with(missing, sharers, photos, gallery, log)
        )


# Of missing queries by position, the processes that share them, photos, gallery and log; see score_missing.
Engine = Callable[..., "tuple[dict[int, np.ndarray], list[Problem]]"]


def local_engine(args: argparse.Namespace, local_rank: int, total: int) -> tuple[dict[str, Any], Engine]:
    """What rewards depend on beside weights, prompt and photos, and who computes them: a ranker in this process."""
    import torch

    from utils.evaluation.by_ranker import score_by_ranker
    from utils.geo_ranker import GeoRanker
    from utils.model.device import checked_device, own_device

    device = checked_device(args.device or own_device(local_rank))
    kernels = attention(args, device.type)
    settings = {"device": device.type, "attn_implementation": kernels, "dtype": args.dtype, "sharing": args.sharing}
    if args.quantize is not None:  # logs from before there was the flag stay valid
        settings["quantize"] = args.quantize
    how = {"dtype": args.dtype and getattr(torch, args.dtype), "device": str(device), "attn_implementation": kernels}
    how["quantize"] = args.quantize
    return settings, functools.partial(
        score_by_ranker,
        functools.cache(lambda: GeoRanker.from_pretrained(args.model, args.model_path, **how)),
        total=total,
        feature_cache=args.feature_cache,
        max_tokens=args.max_tokens,
        sharing=args.sharing,
        # On a CPU the model takes all cores, and nothing is won by reading ahead.
        num_workers=args.num_workers if args.num_workers is not None else 0 if device.type == "cpu" else 4,
    )


def vllm_engine(args: argparse.Namespace, info: AdapterInfo) -> tuple[dict[str, Any], Engine]:
    """The same of vLLM servers; wherever they are, the adapter that they serve is known."""
    from utils.evaluation.by_server import score_by_server
    from utils.serving.identity import reward_label
    from utils.serving.probes import check_probes
    from utils.serving.reward_server import RewardServer, ask_served

    def servers(label: str) -> list[RewardServer]:
        return [RewardServer(url, label, args.model_name, args.api_key, args.timeout) for url in args.base_url]

    label = check_probes(ask_served(servers(reward_label(args.model_path, info))), args.output_dir)
    settings = {"backend": "vllm", "model_name": args.model_name, "checkpoint": label}
    # The processes are one, see check_backend.
    return settings, lambda missing, _, *stores_and_log: score_by_server(
        servers(label), info, missing, *stores_and_log, at_once=args.process
    )


def sources(args: argparse.Namespace) -> "Sources":
    """Where the candidates came from."""
    from utils.calibration import Sources
    from utils.tables.metadata import gallery_hash

    return Sources(args.topn, args.topn_zs, args.merge_km, gallery_hash(args.candidates_of))


if __name__ == "__main__":
    sys.exit(main())
