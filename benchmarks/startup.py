"""How soon a command answers: wall seconds and peak memory of ``--help``, each time in a fresh process.

    python -m benchmarks.startup
    python -m benchmarks.startup --against ../before --output outputs/startup.json

Prints a Markdown table of every script, tool and command of the embedded world, and of `quick_start.py` with its
defaults where the data are built; it then writes its ranking as ever. Figures are medians. With --against, the scripts
at the top stand beside those of another checkout, whose `.venv` runs them; both run in turn. Memory is what Linux
counts as the most that a process ever had resident.
"""

import argparse
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.flags import add_output
from benchmarks.presets import TEST_CANDIDATES
from utils.cli.command import run_command
from utils.cli.flags import at_least, script_parser
from utils.data_paths import check_files
from utils.jobs.files import write_json
from utils.jobs.outputs import check_outputs
from utils.jobs.progress import progress_bar

ROOT = Path(__file__).parent.parent
QUICK_START = ("quick_start.py",)
# Runs a script or module as the interpreter does, and says at the end what memory it took. Not by getrusage, whose
# peak a process inherits from the one that started it.
RUN = """
import atexit, re, runpy, sys

def say_peak():
    with open("/proc/self/status") as status:
        print(re.search(r"VmHWM:\\s+(\\d+) kB", status.read())[1], file=sys.__stderr__)

atexit.register(say_peak)
target, *sys.argv[1:] = sys.argv[1:]
sys.argv[0] = target
if target.endswith(".py"):
    runpy.run_path(target, run_name="__main__")
else:
    runpy.run_module(target, run_name="__main__", alter_sys=True)
"""

Command = tuple[str, ...]  # a script's file or a module, and its arguments


@dataclass(frozen=True)
class Cost:
    """Of one process, or the medians of several."""

    seconds: float
    mib: float


@dataclass(frozen=True)
class Checkout:
    """Where commands are, and the interpreter that runs them."""

    root: Path
    python: Path


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__, "benchmarks.startup")
    add = parser.add_argument
    add(
        "--against", type=Path, metavar="CHECKOUT", help="another checkout with its own .venv, to stand beside this one"
    )
    add("--only", nargs="+", metavar="COMMAND", help="these scripts (with .py) and modules (default: all)")
    add("--repeats", type=at_least(1), default=3, help="processes of each command, of which the median counts")
    add_output(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: measure_startup(args), quiet=args.quiet)


def measure_startup(args: argparse.Namespace) -> list[str]:
    """Print the table and write the figures. Returns which commands failed."""
    checkouts = {"here": Checkout(ROOT, Path(sys.executable))}
    check_outputs([("--output", args.output)])
    if args.against:
        python = args.against / ".venv" / "bin" / "python"
        check_files([("against", python)])
        checkouts["against"] = Checkout(args.against, python)
    costs: dict[str, dict[str, Cost]] = {}
    problems = []
    chosen = [command for command in commands(ROOT) if not args.only or command[0] in args.only]
    for command in progress_bar(chosen, unit="command"):
        # Scripts at the top have kept their names, modules have not.
        having = {
            side: checkout
            for side, checkout in checkouts.items()
            if side == "here" or (command[0].endswith(".py") and command in commands(checkout.root))
        }
        try:
            costs[" ".join(command)] = in_turn(command, having, args.repeats)
        except ValueError as error:
            problems.append(str(error))
    print(table(costs, list(checkouts)))
    if args.output:
        figures = {name: {side: asdict(cost) for side, cost in own.items()} for name, own in costs.items()}
        write_json(args.output, figures)
    return problems


def commands(root: Path) -> list[Command]:
    """``--help`` of every script, tool and command of the embedded world; and the quick start where it has its data."""
    files = sorted(path for folder in ("tools", "earth") for path in (root / folder).rglob("*.py"))
    modules = [
        ".".join(path.relative_to(root).with_suffix("").parts)
        for path in files
        if re.search(r'^if __name__ == "__main__":', path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    return [
        *((name, "--help") for name in (*scripts(root), *modules)),
        *([QUICK_START] if (root / TEST_CANDIDATES).exists() else []),
    ]


def scripts(root: Path) -> list[str]:
    """The scripts at the top of a checkout."""
    return sorted(path.name for path in root.glob("*.py"))


def in_turn(command: Command, checkouts: Mapping[str, Checkout], repeats: int) -> dict[str, Cost]:
    """Medians of ``command`` in each checkout."""
    runs: dict[str, list[Cost]] = {side: [] for side in checkouts}
    for _ in range(repeats):
        for side, checkout in checkouts.items():
            runs[side].append(run(command, checkout))
    return {
        side: Cost(statistics.median(cost.seconds for cost in own), statistics.median(cost.mib for cost in own))
        for side, own in runs.items()
    }


def run(command: Command, checkout: Checkout) -> Cost:
    """Run ``command`` in a fresh process. Raises ``ValueError`` where it fails."""
    words = [checkout.python.absolute(), "-c", RUN, *command]
    start = time.perf_counter()
    done = subprocess.run(words, cwd=checkout.root, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    said = done.stderr.splitlines()
    if done.returncode:
        last = "".join(said[-2:-1])  # the very last is the peak
        raise ValueError(f"{checkout.root}: {' '.join(command)} exited with {done.returncode}: {last}")
    return Cost(seconds, int(said[-1]) / 1024)


def table(costs: Mapping[str, Mapping[str, Cost]], sides: Sequence[str]) -> str:
    """Markdown: a row for each command, seconds and MiB of each side."""
    rows = [
        ["command", *(f"{unit}, {side}" for side in sides for unit in ("s", "MiB"))],
        ["---"] * (1 + 2 * len(sides)),
    ]
    for command, own in costs.items():
        cells = [(f"{own[side].seconds:.2f}", f"{own[side].mib:.0f}") if side in own else ("", "") for side in sides]
        rows.append([f"`{command}`", *(cell for pair in cells for cell in pair)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


if __name__ == "__main__":
    sys.exit(main())
