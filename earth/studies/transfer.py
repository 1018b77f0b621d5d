"""Do decodings carry over to photographs? Chosen on Earth, applied untouched to another benchmark's retrieved places.

    python -m earth.studies.transfer --candidates dataset/development/retrieval.csv      # into docs/earth/transfer.json

Where no ranker has scored the candidates, their retrieval rank says how likely they are: probabilities fall by the
factor e every so many ranks. That number, and the scales of the consensus with and without it, are chosen on Earth's
validation queries by accuracy. Both tables are retrieval tables, or candidate tables, of which only the retrieved
candidates are read.

    first            first retrieved candidate
    consensus_equal  candidate that the places of all agree on
    rank_consensus   candidate that the rank probabilities agree on
    oracle           nearest candidate
"""

import argparse
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from earth.recipe import DEFAULT_DIR, TOPN
from earth.studies.decoders import SCALES_KM, check_apart, choose, errors, print_grid
from utils.candidates import Candidate, Query
from utils.cli.command import run_command
from utils.cli.flags import at_least, script_parser
from utils.data_paths import check_files
from utils.decoding import Decoder
from utils.evaluation.cases import Case
from utils.evaluation.metrics import paired_summary, summary
from utils.geography.geodesy import THRESHOLDS_KM
from utils.jobs.files import write_json
from utils.jobs.outputs import check_outputs
from utils.tables.retrieval_table import read_retrieval_table

RANKS = (1.0, 2.0, 4.0, 8.0, 16.0)  # over which a rank probability falls by e
GRIDS = {
    "consensus_equal": [Decoder(reward_weight=0, scale_km=scale_km) for scale_km in SCALES_KM],
    "rank_consensus": [Decoder(temperature=ranks, scale_km=scale_km) for ranks in RANKS for scale_km in SCALES_KM],
}


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__, "earth.studies.transfer")
    add = parser.add_argument
    add("--candidates", type=Path, required=True, help="table of the benchmark")
    add("--val", type=Path, default=DEFAULT_DIR / "val" / "retrieval.csv", help="Earth's own (%(default)s)")
    add("--topn", type=at_least(1), default=TOPN, help="candidates of each query (%(default)s)")
    add("--output", type=Path, default=Path("docs/earth/transfer.json"), help="result (%(default)s)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: transfer(args), quiet=args.quiet)


def transfer(args: argparse.Namespace) -> list[str]:
    """Choose on ``--val``, measure on ``--candidates``. Returns what of them could not be used."""
    check_files([("val", args.val), ("candidates", args.candidates)])
    check_outputs([("--output", args.output)])
    (validation, problems), (cases, more) = (ranked_cases(path, args.topn) for path in (args.val, args.candidates))
    check_apart(args.val, validation, args.candidates, cases)
    chosen = {}
    for name, grid in GRIDS.items():
        chosen[name], found = choose(validation, grid)
        print_grid(name, found)
    distances = {"first": errors(Decoder(), cases)}
    distances |= {name: errors(decoder, cases) for name, decoder in chosen.items()}
    distances["oracle"] = np.array([case.distances.min() for case in cases])
    result = {
        "num_queries": len(cases),
        "topn": args.topn,
        "sha256": {"val": sha256(args.val), "candidates": sha256(args.candidates)},
        "chosen": {name: asdict(decoder) for name, decoder in chosen.items()},
        "rankers": {name: summary(values) for name, values in distances.items()},
        "minus_first": {name: paired_summary(distances[name], distances["first"]) for name in chosen},
        "rank_minus_equal": paired_summary(distances["rank_consensus"], distances["consensus_equal"]),
    }
    write_json(args.output, result)
    print_result(result)
    print(f"\n{args.output}")
    return problems + more


def ranked_cases(path: Path, topn: int) -> tuple[list[Case], list[str]]:
    """The queries of a retrieval table with the candidates of the first ``topn`` ranks, minus the rank as reward.

    Raises ``ValueError`` when the table has no usable query.
    """
    rows, problems = read_retrieval_table(path)
    cases = []
    for row in rows:
        found = {rank: place for rank, place in row.candidates.items() if rank < topn}
        if not found:
            problems.append(f"{path}: row {row.number} ({row.img_id}): no usable candidate among {topn}; row skipped")
            continue
        candidates = tuple(Candidate(*place) for place in found.values())
        cases.append(
            Case(Query(row.img_id, candidates, (), row.latitude, row.longitude), -np.array(list(found), float))
        )
    if not cases:
        raise ValueError("\n".join([f"{path}: no usable query", *problems]))
    return cases, problems


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def print_result(result: dict) -> None:
    """The table for a terminal, and the paired differences."""

    def line(name: str, row: dict, form: str) -> str:
        cells = [
            f"{row['accuracy'][key]:{form}} [{low:{form}}, {high:{form}}]"
            for key, (low, high) in row["accuracy_ci95"].items()
        ]
        return f"{name:24}" + "".join(f"{cell:>22}" for cell in cells)

    print(f"\n{result['num_queries']} queries, first {result['topn']} candidates; % within so many km [95% interval]:")
    print(" " * 24 + "".join(f"{threshold:>22}" for threshold in THRESHOLDS_KM))
    for name, row in result["rankers"].items():
        print(line(name, row, ".2f"))
    for name, row in result["minus_first"].items():
        print(line(f"{name} - first", row, "+.2f"))
    print(line("rank - consensus_equal", result["rank_minus_equal"], "+.2f"))
    for name, decoder in result["chosen"].items():
        ranks = f", e-fold over {decoder['temperature']:g} ranks" if decoder["reward_weight"] else ""
        print(f"{name}: s {decoder['scale_km']} km{ranks}")


if __name__ == "__main__":
    sys.exit(main())
