"""How searching a gallery grows with its number of photos: exact and compressed index beside each other.

    python -m benchmarks.search --output outputs/search.json --picture outputs/search.png

Embeddings are those of benchmarks/index.py, kept in float16 in --folder (512 bytes a photo, and twice as much for the
exact index). Both indexes are built, loaded and searched as `retrieve_candidates.py` does it, each in a process of its
own, of one thread, whose processor time counts: so what else the machine does matters little. Queries are searched for
one after the other, as one photo's is: their median counts.
Recall@1 and @20 is the share of what the exact index finds; that of exact is 1 by definition.

What is built in --folder is not built again: a second run repeats the searches alone.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from utils.cli.command import run_command
from utils.cli.flags import at_least, script_parser
from utils.jobs.files import write_json
from utils.jobs.outputs import check_outputs


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__, "benchmarks.search")
    add = parser.add_argument
    sizes = (10_000, 100_000, 1_000_000, 4_000_000)
    add("--photos", nargs="+", type=at_least(10_000), default=sizes, help="sizes of the gallery (%(default)s)")
    add("--dimension", type=at_least(1), default=256, help="length of an embedding (%(default)s)")
    add("--code_bytes", type=at_least(1), default=64, help="size of a code (%(default)s)")
    add("--queries", type=at_least(1), default=100, help="searched for (%(default)s)")
    add("--folder", type=Path, default=Path("outputs/search"), help="of embeddings and indexes (%(default)s)")
    add("--output", type=Path, required=True, help="JSON file for the results")
    add("--picture", type=Path, help="PNG file for the results")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: measure_search(args), quiet=args.quiet)


def measure_search(args: argparse.Namespace) -> list[str]:
    """Build what is not there, search, print the table, write the figures and draw."""
    check_outputs([("--output", args.output), ("--picture", args.picture)], [("--folder", args.folder)])
    from benchmarks.tables import search_table
    from benchmarks.work.search import measured

    results = measured(args.photos, args.dimension, args.code_bytes, args.queries, args.folder)
    write_json(args.output, results)
    print(search_table(results["rows"]))
    if args.picture:
        from benchmarks.charts import search_chart
        from utils.figures.panels import write

        write(search_chart(results["rows"]), args.picture)
    return []


if __name__ == "__main__":
    sys.exit(main())
