"""Rewrite a released adapter as an ordinary one of this project.

    python -m tools.convert_adapter checkpoints checkpoints/released

The new folder holds the same tensors under our names and ``georanker.json``; peft loads it onto a ``GeoRanker`` by
itself. Nothing needs converting to be used: every script takes the released folder as it is. The base model's
weights are not read. Whether the layers are all there and fit each other is checked; whether they are as many as
the base model has shows when they are loaded onto it.
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
    parser = script_parser(__doc__, "tools.convert_adapter")
    add = parser.add_argument
    add("released", type=Path, help="folder of the released adapter")
    add("output", type=Path, help="folder to write; it must be new or empty")
    add("--base_model", help="base model to note in the new folder; default: the one that the released folder names")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: write(args), quiet=args.quiet)


def write(args: argparse.Namespace) -> list[str]:
    """Write the converted adapter. Returns no problems: what is wrong is an error."""
    check_files([("released", args.released / "adapter_config.json")])
    if not args.output.is_dir():  # it becomes one when all of it is written
        check_outputs([("output", args.output)])

    from utils.model.adapter_conversion import convert

    info = convert(args.released, args.output, args.base_model)
    print(f"{args.output}: adapter for {info.base_model}, prompt layout {info.layout}")
    return []


if __name__ == "__main__":
    sys.exit(main())
