"""Draw the study of the embedded world from its stored figures: docs/earth/* into docs/images/earth_*.png.

python -m earth.studies.plots

confidence.json   earth_reliability.png   how often answers of some confidence are right
                  earth_coverage.png      accuracy when the less sure answers are withheld
scaling.json      earth_scaling.png       accuracy against the size of the gallery
ablations.jsonl   earth_ablations.png     what a change of the recipe gains or loses, beside the paper's figures
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from utils.cli.command import run_command
from utils.cli.flags import script_parser
from utils.data_paths import check_files
from utils.jobs.outputs import check_outputs


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__, "earth.studies.plots")
    add = parser.add_argument
    add("--results", type=Path, default=Path("docs/earth"), help="folder of the figures (%(default)s)")
    add("--images", type=Path, default=Path("docs/images"), help="folder for the plots (%(default)s)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: draw(args.results, args.images), quiet=args.quiet)


def draw(results: Path, images: Path) -> list[str]:
    """Every plot whose figures are there. Returns which are not."""
    check_files([("results", results)])
    check_outputs(folders=[("--images", images)])
    from earth.studies.charts import PLOTS
    from utils.figures.panels import write

    problems = []
    for source, read, plot, name in PLOTS:
        if not (results / source).exists():
            problems.append(f"{results / source} does not exist: no {name}")
            continue
        write(plot(read(results / source)), images / name)
        print(images / name)
    return problems


if __name__ == "__main__":
    sys.exit(main())
