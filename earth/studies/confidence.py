"""Decodings of the ranker and their confidence: what was chosen on validation queries, and what it is worth on test.

    python evaluate.py --dataset earth --split val --topn 12 --topn_zs 3
    python evaluate.py --dataset earth --topn 12 --topn_zs 3
    python -m earth.studies.confidence    # reads both, writes docs/earth/confidence.json

    argmax                 highest reward
    consensus              candidate the reward probabilities agree on
    fused                  highest reward + a * similarity
    fused_consensus        candidate the probabilities of the fused rewards agree on
    consensus_equal        candidate the places of all candidates agree on, no ranker
    similarity             highest cosine of the full embeddings, no ranker
    similarity_consensus   candidate its probabilities agree on, no ranker

On the validation queries, temperatures and `a` are fitted by likelihood, then the scale of each consensus, the power
of the probabilities in it, and a factor of `a` are chosen from a grid by accuracy. The test queries see the result.
An answer is right when it lies within so many km of the truth, and its confidence is the probability mass of the
candidates within as many km of it; for the calibration error and the reliability diagram that is 200 km, as in
evaluate.py's report.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path

import numpy as np

from earth.studies.decoders import POWERS, SCALES_KM, check_apart, choose, errors, goodness, print_grid
from utils.cli.command import run_command
from utils.cli.flags import script_parser
from utils.data_paths import check_files
from utils.decoding import Decoder
from utils.evaluation.cases import Case, picked_errors
from utils.evaluation.fit import fit_similarity_weight, fit_temperature
from utils.evaluation.metrics import (
    bootstrap_ci,
    coverage_curve,
    expected_calibration_error,
    paired_summary,
    reliability,
    summary,
)
from utils.evaluation.rankers import ranker_picks
from utils.evaluation.report import CALIBRATION_RADIUS_KM
from utils.evaluation.saved_run import read_cases, read_settings
from utils.jobs.files import write_json
from utils.jobs.outputs import check_outputs

SIMILARITY_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
COVERAGE_RADII_KM = (25, 200, 750)
COVERAGES = (25, 50, 75)  # percent of the queries that are answered
SHARED = ("model", "model_path", "topn", "topn_zs", "merge_km", "name_generated")
REFERENCES = ("retrieval", "oracle")


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__, "earth.studies.confidence")
    add = parser.add_argument
    for name in ("val", "test"):
        default = Path(f"outputs/evaluate/earth-{name}")
        add(f"--{name}", type=Path, default=default, help="--output_dir of that run of evaluate.py (%(default)s)")
    add("--output", type=Path, default=Path("docs/earth/confidence.json"), help="result (%(default)s)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: study(args), quiet=args.quiet)


def study(args: argparse.Namespace) -> list[str]:
    """Choose on the validation run, measure on the test run. Returns what of them could not be used."""
    check_files([("val", args.val / "metrics.json"), ("test", args.test / "metrics.json")])
    check_outputs([("--output", args.output)])
    settings = shared_settings(args.val, args.test)
    (validation, problems), (test, more) = read_cases(args.val), read_cases(args.test)
    check_apart(args.val, validation, args.test, test)
    chosen = {}
    for name, grid in grids(validation).items():
        chosen[name], found = choose(validation, grid)
        print_grid(name, found)
    published = errors(chosen["argmax"], test)
    references = ranker_picks(test)
    result = {
        "settings": settings,
        "validation": {
            "num_queries": len(validation),
            "chosen": {name: asdict(decoder) for name, decoder in chosen.items()},
            "goodness": {name: goodness(errors(decoder, validation)) for name, decoder in chosen.items()},
        },
        "test": {
            "num_queries": len(test),
            "calibration_radius_km": CALIBRATION_RADIUS_KM,
            "references": {name: summary(picked_errors(test, references[name])) for name in REFERENCES},
            "decoders": {name: figures(decoder, test, published) for name, decoder in chosen.items()},
        },
    }
    write_json(args.output, result)
    print_result(result["test"], lambda name: describe(chosen[name]))
    print(f"\n{args.output}")
    return problems + more


def calibrated(decoder: Decoder, cases: Sequence[Case]) -> Decoder:
    """``decoder`` with the temperature that makes the nearest candidate likeliest."""
    return replace(
        decoder, temperature=fit_temperature([(decoder.scores(case.evidence), case.distances) for case in cases])
    )


def consensuses(decoders: Sequence[Decoder], powers: Sequence[float] = POWERS) -> Iterator[Decoder]:
    """Consensus decodings by the probabilities of ``decoders``."""
    for decoder, power, scale_km in product(decoders, powers, SCALES_KM):
        yield replace(decoder, power=power, scale_km=scale_km)


def grids(cases: Sequence[Case]) -> dict[str, list[Decoder]]:
    """Decoders to choose from, fitted on ``cases``."""
    weight, _ = fit_similarity_weight([(case.rewards, case.similarities, case.distances) for case in cases])
    argmax = calibrated(Decoder(), cases)
    fused = [calibrated(Decoder(similarity_weight=weight * factor), cases) for factor in SIMILARITY_FACTORS]
    similarity = calibrated(Decoder(reward_weight=0, similarity_weight=1), cases)
    return {
        "argmax": [argmax],
        "consensus": list(consensuses([argmax])),
        "fused": fused,
        "fused_consensus": list(consensuses(fused)),
        "consensus_equal": list(consensuses([Decoder(reward_weight=0)], powers=(1.0,))),
        "similarity": [similarity],
        "similarity_consensus": list(consensuses([similarity])),
    }


def at_coverages(answers: np.ndarray, coverages: Sequence[int] = COVERAGES) -> np.ndarray:
    """Accuracy (percent) of the surest so many percent of ``answers`` (n, 2), confidence and whether right."""
    curve = coverage_curve(*answers.T)
    return curve[np.ceil(np.array(coverages) * len(curve) / 100).astype(int) - 1]


def coverage(confidence: np.ndarray, correct: np.ndarray) -> dict:
    """Accuracy when the less sure answers are withheld; percent."""
    answers = np.stack([confidence, correct], axis=1)
    intervals = np.stack(bootstrap_ci(answers, lambda drawn: [*map(at_coverages, drawn)]), axis=1)
    names = [str(share) for share in COVERAGES]
    return {
        "accuracy": dict(zip(names, at_coverages(answers).tolist(), strict=True)),
        "accuracy_ci95": dict(zip(names, intervals.tolist(), strict=True)),
        # At a coverage of 1, 2, ... 100%, for the plot.
        "curve": at_coverages(answers, range(1, 101)).round(2).tolist(),
    }


def figures(decoder: Decoder, cases: Sequence[Case], published: np.ndarray) -> dict:
    """What a decoder is worth on ``cases``; ``published`` (cases,) km are the errors of the highest reward."""
    picks = np.array([decoder.pick(case.evidence) for case in cases])
    distances = picked_errors(cases, picks)
    stated = np.array(
        [
            list(decoder.mass_near(case.evidence, pick, COVERAGE_RADII_KM).values())
            for case, pick in zip(cases, picks, strict=True)
        ]
    )
    stated = dict(zip(COVERAGE_RADII_KM, stated.T, strict=True))
    radius = CALIBRATION_RADIUS_KM
    return {
        **summary(distances),
        "minus_argmax": paired_summary(distances, published),
        "calibration_error": expected_calibration_error(stated[radius], distances < radius),
        "reliability": reliability(stated[radius], distances < radius),
        "coverage": {str(km): coverage(confidence, distances < km) for km, confidence in stated.items()},
    }


def shared_settings(validation: Path, test: Path) -> dict[str, str]:
    """What both runs ranked, and with what. Raises ``ValueError`` where they differ: nothing carries over then."""
    settings, others = read_settings(validation), read_settings(test)
    for name in SHARED:
        if settings[name] != others[name]:
            raise ValueError(
                f"{validation} and {test}: --{name} was {settings[name]} in one, {others[name]} in the other"
            )
    return {name: settings[name] for name in SHARED}


def describe(decoder: Decoder) -> str:
    words = [f"a {decoder.similarity_weight:.3g}"] if decoder.reward_weight and decoder.similarity_weight else []
    if decoder.scale_km is not None:
        words += [f"s {decoder.scale_km} km", f"power {decoder.power:g}"]
    return ", ".join(words)


def print_result(test: dict, described: Callable[[str], str]) -> None:
    print(f"\n{test['num_queries']} test queries: % within 25 / 200 / 750 km; points above argmax at 25 and 200 km;")
    print("calibration error; % within 200 km among the surest 25 / 50 / 75% of the answers")
    for name, row in test["references"].items():
        print(f"{name:22}" + _slashed(row["accuracy"], ("25", "200", "750")))
    for name, row in test["decoders"].items():
        cells = [_slashed(row["accuracy"], ("25", "200", "750"))]
        for km in ("25", "200"):
            low, high = row["minus_argmax"]["accuracy_ci95"][km]
            cells.append(f"{row['minus_argmax']['accuracy'][km]:+5.1f} [{low:+.1f}, {high:+.1f}]".ljust(20))
        cells += [f"{row['calibration_error']:.3f}", _slashed(row["coverage"]["200"]["accuracy"], map(str, COVERAGES))]
        print(f"{name:22}" + "  ".join([*cells, described(name)]))


def _slashed(values: dict[str, float], keys: Sequence[str]) -> str:
    return " / ".join(f"{values[key]:5.1f}" for key in keys)


if __name__ == "__main__":
    sys.exit(main())
