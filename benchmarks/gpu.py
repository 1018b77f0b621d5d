"""Every measurement that needs a GPU, the most telling first: what a GPU lent for half an hour is used for.

    python -m benchmarks.gpu --output_dir outputs/gpu
    python -m benchmarks.gpu --output_dir outputs/gpu --minutes 25 --repeats 3

Each is a process of its own, which writes NAME.json into --output_dir as it ends, and what it prints into NAME.txt.
One that fails is named, and the others follow. The same command goes on where it was stopped: what has a JSON is not
measured again. The exit code is 1 where anything is missing.
"""

import argparse
import itertools
import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from utils.cli.command import run_command
from utils.cli.flags import at_least, script_parser
from utils.jobs.outputs import check_outputs
from utils.model.prompts import LAYOUTS

logger = logging.getLogger(__name__)

PHOTOS = ("500x375", "1024x768")  # the harder goals first
FLEX = ["--attn_implementation", "flex_attention"]  # see benchmarks/flex.py
ROOT = Path(__file__).parent.parent

Measurement = tuple[str, list[str]]  # name, script and its arguments


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__, "benchmarks.gpu")
    add = parser.add_argument
    add("--output_dir", type=Path, required=True, help="results, one JSON a measurement")
    add("--presets", nargs="+", choices=("2b", "7b", "tiny"), default=["7b", "2b"], help="shapes, in this order")
    add("--repeats", type=at_least(1), default=5, help="runs of each side, of which the median counts")
    add("--minutes", type=float, help="begin nothing after so many")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: measure_all(args), quiet=args.quiet)


def measure_all(args: argparse.Namespace) -> list[str]:
    """Run what has no result yet, and print a line of each result. Returns what is missing."""
    check_outputs(folders=[("--output_dir", args.output_dir)])
    planned = list(measurements(args.presets, args.repeats))
    start = time.monotonic()
    missing = []
    for number, (name, command) in enumerate(planned, 1):
        if not (args.output_dir / f"{name}.json").exists():
            minutes = (time.monotonic() - start) / 60
            if args.minutes is not None and minutes >= args.minutes:
                missing.append(name)
                continue
            logger.info("%d of %d, after %.1f min: %s", number, len(planned), minutes, name)
            if not measure(name, command, args.output_dir):
                logger.info("  failed: see %s.txt", args.output_dir / name)
                missing.append(name)
                continue
        print(f"  {line(name, args.output_dir)}", flush=True)
    return [f"{name} has no result" for name in missing]


def measurements(presets: list[str], repeats: int) -> Iterator[Measurement]:
    """All of them: for every preset the two tasks, then from files on, then what rests on them."""
    for preset in presets:
        for script, own in (
            ("ranking", []),
            ("training", []),
            ("pipeline", ["--queries", "16"]),
            ("training", ["--gradient_checkpointing"]),
            ("ranking", [*FLEX, "--sharing", "prefix_cache"]),
            ("training", [*FLEX, "--sharing", "prefix_cache"]),
            ("ranking", [*FLEX, "--sharing", "packed_row"]),
            ("training", [*FLEX, "--sharing", "packed_row"]),
            ("training", [*FLEX, "--gradient_checkpointing"]),
        ):
            for photo, layout in itertools.product(PHOTOS, reversed(LAYOUTS)):
                name = "-".join([preset, script, *(word.strip("-") for word in own), photo, layout])
                arguments = ["--preset", preset, "--photo", photo, "--layout", layout, "--repeats", str(repeats)]
                yield name, [script, *arguments, *own]
    yield "earth-quality", ["quality", "--device", "cuda"]


def measure(name: str, command: list[str], folder: Path) -> bool:
    """Run one measurement; whether there is a result now."""
    result = folder / f"{name}.json"
    script, *arguments = command
    with open(folder / f"{name}.txt", "w") as printed:
        subprocess.run(
            [sys.executable, "-m", f"benchmarks.{script}", *arguments, "--output", str(result.absolute())],
            cwd=ROOT,
            stdout=printed,
            stderr=subprocess.STDOUT,
        )
    return result.exists()


def line(name: str, folder: Path) -> str:
    """What a result says, in short."""
    result = json.loads((folder / f"{name}.json").read_text())
    if "speedup" not in result:
        return f"{name}: see {name}.txt"
    ours, naive = result["ours"], result["naive"]
    cells = []
    if "seconds" in ours:
        cells += [f"{ours['seconds'] * 1e3:,.0f} ms", f"{ours['peak_mib']:,.0f} MiB"]
    if result["speedup"] is not None:
        cells += [f"{result['speedup']:.2f} times naive", f"{ours['peak_mib'] / naive['peak_mib']:.0%} of its memory"]
    if "utilisation" in ours:
        cells.append(f"utilisation {ours['utilisation']:.0%}")
    cells += [f"{side} out of memory" for side in ("ours", "naive") if "out_of_memory" in result[side]]
    return f"{name}: {', '.join(cells)}"


if __name__ == "__main__":
    sys.exit(main())
