"""How much memory a ranker takes with its weights as they are, in 8 bits and in 4 bits.

    python -m benchmarks.memory
    python -m benchmarks.memory --preset 2b --layers 2 --dtype float32 --measure

Prints a Markdown table, worked out from shapes (utils/model/memory.py): a query with 12 + 3 candidates, all photos of
one size, as many of them in a batch as --max_tokens lets in. With --measure, random weights are saved, loaded, and
ranked with on --device, and what that takes stands beside the estimates. A few --layers of language model and tower do
where there is little memory.
"""

import argparse
import sys
from collections.abc import Sequence

from benchmarks.flags import add_output, photo_size
from benchmarks.presets import SHAPES, check_shipped
from utils.cli.command import run_command
from utils.cli.flags import add_device, at_least, script_parser
from utils.model.budget import MAX_TOKENS
from utils.model.prompts import LAYOUTS


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__, "benchmarks.memory")
    add = parser.add_argument
    add("--preset", nargs="+", choices=SHAPES, default=["2b", "7b"], help="shapes of Qwen2-VL (%(default)s)")
    add("--layers", type=at_least(1), help="only so many, of the language model and of the tower")
    add("--photo", nargs="+", type=photo_size, metavar="WxH", default=[(500, 375), (1024, 768)])
    add("--layout", choices=LAYOUTS, default="published")
    add("--candidates", type=at_least(1), default=12, help="with photos (%(default)s)")
    add("--generated", type=at_least(0), default=3, help="candidates without photos (%(default)s)")
    add("--max_tokens", type=at_least(1), default=MAX_TOKENS, help="in a batch (%(default)s)")
    add("--dtype", choices=("float32", "bfloat16"), default="bfloat16", help="of what is not quantised (%(default)s)")
    add("--measure", action="store_true", help="measure, too")
    add_device(add)
    add_output(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: print_table(args), quiet=args.quiet)


def print_table(args: argparse.Namespace) -> list[str]:
    """Print the table and write the figures."""
    check_shipped()
    from benchmarks.measure import write
    from benchmarks.work.memory import rows, table

    found = rows(args)
    print(table(found))
    write(args.output, {"settings": {name: str(value) for name, value in vars(args).items()}, "rows": found})
    return []


if __name__ == "__main__":
    sys.exit(main())
