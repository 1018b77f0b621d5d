"""Fit the weights of the consensus that needs no ranker on candidate tables whose truth is known.

    python -m tools.fit_consensus dataset/im2gps3k/candidates.csv
    python -m tools.fit_consensus dataset/earth/calibration/candidates.csv --calibration outputs/votes.json \\
        --gallery dataset/earth/gallery/metadata.csv --about "queries of Earth's calibration split"

`evaluate.py --ranker consensus` picks the candidate that the places of all candidates agree on: a guess weighs more
than a retrieved photo, which weighs less the lower its rank. This tries a grid of weights and scales. It prints what
cross-validation gives beside the rankers that need no fitting, then what is best on all queries. Confidence and regions
are cross-validated alike, where there are queries enough. --calibration writes those of the weights in use into a file,
fitted on all queries, for `evaluate.py --calibration`. Neither a model nor photos are needed. docs/im2gps3k.md has the
figures behind the defaults.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from utils.cli.command import first_of, run_command
from utils.cli.flags import add_candidate_choice, at_least, check_candidate_choice, script_parser
from utils.data_paths import check_files
from utils.decoding import WITHOUT_RANKER
from utils.jobs.outputs import check_outputs

if TYPE_CHECKING:
    from utils.decoding import Decoder
    from utils.evaluation.cases import Case


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__, "tools.fit_consensus")
    add = parser.add_argument
    add("tables", nargs="+", type=Path, help="candidate tables (CSV)")
    add_candidate_choice(add, topn=12, topn_zs=3)
    add("--folds", type=at_least(2), default=10, help="of the cross-validation (%(default)s)")
    add("--seed", type=at_least(0), default=0, help="of the folds and the bootstrap intervals (%(default)s)")
    add("--calibration", type=Path, help="JSON file for confidence and regions of the votes in use; with --about")
    add(
        "--about",
        help="what the candidates are, in words that their users can compare: whose queries, which retriever and "
        "gallery, guesses of which model",
    )
    add("--gallery", help="metadata CSV of the gallery, where it is known: the calibration then is for no other")
    args = parser.parse_args(arguments)
    check_candidate_choice(args, parser)
    if (args.calibration is None) != (args.about is None):
        parser.error("--calibration and --about belong together")
    if args.gallery is not None and args.calibration is None:
        parser.error("--gallery is for --calibration")
    return args


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: fit(args), quiet=args.quiet)


def fit(args: argparse.Namespace) -> list[str]:
    """Print the report and the choice. Returns what of the tables could not be used."""
    check_files([*((None, path) for path in args.tables), ("gallery", args.gallery)])
    check_outputs([("--calibration", args.calibration)])

    import numpy as np

    from utils.evaluation.cases import Case
    from utils.evaluation.consensus_fit import GRID, best, cross_validated, deal, goodness, grid_picks, stated_across
    from utils.evaluation.fit_calibration import LEAST_QUERIES
    from utils.evaluation.rankers import ranker_picks
    from utils.evaluation.report import build_report
    from utils.evaluation.report_text import format_report
    from utils.tables.candidate_table import read_candidate_table

    cases, problems = [], []
    for path in args.tables:
        queries, more = read_candidate_table(path, args.topn, args.topn_zs, merge_km=args.merge_km)
        cases += [Case(query) for query in queries]
        problems += more
    if not cases:
        raise ValueError("\n".join(["no query to fit on", *first_of(problems)]))
    tried = grid_picks(cases)
    values = goodness(cases, tried)
    picks = ranker_picks(cases, seed=args.seed)
    fold_of = deal(len(cases), args.folds, args.seed)
    picks["consensus"], chosen = cross_validated(values, tried, fold_of)
    # The smallest number of others that a fold is calibrated on.
    enough = len(cases) - np.bincount(fold_of).max() >= LEAST_QUERIES
    stated = stated_across(cases, tried, fold_of, chosen) if enough else None
    print(format_report(build_report(cases, picks, prediction="consensus", seed=args.seed, stated=stated)))
    print(f"\nconsensus is cross-validated: each of {args.folds} folds by the best weights of the others:")
    for number, folds in Counter(chosen).most_common():
        print(f"  {folds} of {args.folds} folds: {describe(GRID[number])}")
    winner = best(values)
    print(f"Best on all queries: {describe(GRID[winner])}; mean accuracy {values[winner].mean():.2f}%")
    print(f"In use (utils/decoding.py): {describe(WITHOUT_RANKER['consensus'])}")
    if args.calibration is not None:
        calibrate(args, cases)
    return problems


def calibrate(args: argparse.Namespace, cases: "Sequence[Case]") -> None:
    """Write what the votes in use are worth. Raises ``ValueError`` for too few cases."""
    from utils.calibration import Sources
    from utils.evaluation.fit_calibration import LEAST_QUERIES, fit_decoders
    from utils.tables.metadata import gallery_hash
    from utils.vote_calibration import VoteCalibration

    sources = Sources(args.topn, args.topn_zs, args.merge_km, gallery_hash(args.gallery))
    fitted = fit_decoders(cases, sources, WITHOUT_RANKER)
    if fitted is None:
        raise ValueError(f"{len(cases)} queries are too few to calibrate on: at least {LEAST_QUERIES}")
    VoteCalibration(args.about, fitted).save(args.calibration)
    print(f"{args.calibration}: confidence and regions of {' and '.join(WITHOUT_RANKER)}")


def describe(decoder: "Decoder") -> str:
    return f"guess weight {decoder.guess_weight:g}, rank decay {decoder.rank_decay:g}, scale {decoder.scale_km:g} km"


if __name__ == "__main__":
    sys.exit(main())
