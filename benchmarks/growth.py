"""How ranking grows with the number of candidates: time, memory and operations, ours beside the published way.

    python -m benchmarks.growth --output outputs/growth.json --picture outputs/growth.png
    python -m benchmarks.growth --preset small --queries 1 --output outputs/growth.json --picture outputs/growth.png

Each query is ranked alone, as one photo's is, its candidates all with a photo of the same size as its own. Of earth
these are its own 20 and then those of other queries. Operations are counted at every point (benchmarks/flops.py); a
side is measured where a query takes at most --most_tflops.

--output is extended: points that are there with the same settings are not measured again, so another preset adds its
own, and the same command goes on where it was stopped. The table and the picture have all points of the file.
"""

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.flags import EARTH_PHOTO, photo_size
from benchmarks.presets import PRESETS, TEST_CANDIDATES, check_shipped
from utils.cli.command import run_command
from utils.cli.flags import at_least, positive, script_parser
from utils.jobs.files import write_json
from utils.jobs.outputs import check_outputs
from utils.jobs.reading import read_json_object
from utils.model.budget import MAX_TOKENS
from utils.model.prompts import LAYOUTS

logger = logging.getLogger(__name__)

CLOCK_HELP = "processor time, of all threads together, says something on a busy machine, too (%(default)s)"
CANDIDATES = (1, 2, 5, 10, 20, 50, 100)
PHOTOS = ((256, 192), (512, 384), (1024, 768))


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__, "benchmarks.growth")
    add = parser.add_argument
    add("--preset", choices=PRESETS, default="earth", help="earth: the shipped model; else random weights of a shape")
    sizes = ", ".join(f"{width}x{height}" for width, height in PHOTOS)
    add("--photo", nargs="+", type=photo_size, metavar="WxH", help=f"of all photos; default: {sizes}, of earth 64x64")
    add("--layout", nargs="+", choices=LAYOUTS, default=LAYOUTS, help="of the prompt, on both sides")
    add("--candidates", nargs="+", type=at_least(1), default=CANDIDATES, help="of a query (%(default)s)")
    add("--queries", type=at_least(1), default=4, help="measured in each run, one after the other (%(default)s)")
    add("--repeats", type=at_least(1), default=5, help="runs of each side, of which the median counts (%(default)s)")
    add("--most_tflops", type=positive, default=1.0, help="a query, of a side that is measured (%(default)s)")
    add("--max_tokens", type=at_least(1), default=MAX_TOKENS, help="in a batch of ours (%(default)s)")
    add("--clock", choices=("wall", "processor"), default="wall", help=CLOCK_HELP)
    add("--minutes", type=positive, help="begin no point after so many")
    add("--device", help="default: cuda where there is one, else cpu")
    add("--dtype", choices=("float32", "bfloat16"), help="default: float32 on a CPU, else bfloat16")
    add("--output", type=Path, required=True, help="JSON file of all points")
    add("--picture", type=Path, help="PNG file of all points")
    args = parser.parse_args(arguments)
    args.earth_data = args.preset == "earth" and args.photo is None and TEST_CANDIDATES.exists()
    args.photo = args.photo or ([EARTH_PHOTO] if args.preset == "earth" else list(PHOTOS))
    return args


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: measure_growth(args), quiet=args.quiet)


def measure_growth(args: argparse.Namespace) -> list[str]:
    """Measure what the file has not yet, print the table and draw. Returns what ``--minutes`` left out."""
    check_shipped()
    check_outputs([("--output", args.output), ("--picture", args.picture)])
    from benchmarks.common import place
    from benchmarks.tables import growth_tables
    from benchmarks.work.growth import key, planned

    place(args)
    points = read_json_object(args.output)["points"] if args.output.exists() else []
    start, left_out = time.monotonic(), 0
    for settings, measure in planned(args):
        if any(settings.items() <= point.items() for point in points):
            continue
        if args.minutes is not None and time.monotonic() - start > 60 * args.minutes:
            left_out += 1
            continue
        logger.info("%(preset)s, %(photo)s, %(layout)s, %(candidates)d candidates", settings)
        points = [point for point in points if key(point) != key(settings)] + [settings | measure()]
        write_json(args.output, {"points": sorted(points, key=key)})
    print(growth_tables(points))
    if args.picture:
        from benchmarks.charts import growth_chart
        from utils.figures.panels import write

        write(growth_chart(points), args.picture)
    return [f"{left_out} points are not measured yet: the same command goes on"] if left_out else []


if __name__ == "__main__":
    sys.exit(main())
