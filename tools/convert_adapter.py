"""Rewrite an adapter: a released one as an ordinary one of this project, or any as a checkpoint that vLLM serves.

    python -m tools.convert_adapter checkpoints checkpoints/released
    python -m tools.convert_adapter checkpoints/earth outputs/earth-vllm --to vllm

Of a released adapter the new folder holds the same tensors under our names and ``georanker.json``; peft loads it onto a
``GeoRanker`` by itself. Nothing needs converting to be used: every script takes the released folder as it is. The base
model's weights are not read. Whether the layers are all there and fit each other is checked; whether they are as many
as the base model has shows when they are loaded onto it.

With `--to vllm` the new folder is a whole model, the base with the adapter, released or own, merged into it in float32,
that `vllm serve` takes as it is: docs/serving.md. The base model is read into memory as it is stored.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from utils.cli.command import run_command
from utils.cli.flags import script_parser
from utils.cli.given import given_flags, refuse
from utils.data_paths import check_files
from utils.jobs.outputs import check_outputs


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__, "tools.convert_adapter")
    add = parser.add_argument
    add("adapter", metavar="released", type=Path, help="folder of the adapter")
    add("output", type=Path, help="folder to write; it must be new or empty")
    add("--to", choices=("georanker", "vllm"), default="georanker", help="what for (%(default)s)")
    add("--base_model", help="base model, to note or to merge into; default: the one that the adapter names")
    add(
        "--dtype",
        choices=("float32", "bfloat16", "float16"),
        help="with --to vllm: of the weights; default: as the base model is stored",
    )
    args = parser.parse_args(arguments)
    if args.to == "georanker":
        refuse(
            parser, given_flags(parser, arguments, args), ("dtype",), "with --to georanker: tensors stay as they are"
        )
    return args


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: write(args), quiet=args.quiet)


def write(args: argparse.Namespace) -> list[str]:
    """Write the converted adapter. Returns no problems: what is wrong is an error."""
    check_files([(None, args.adapter / "adapter_config.json")])
    if not args.output.is_dir():  # it becomes one when all of it is written
        check_outputs([("output", args.output)])
    (write_for_vllm if args.to == "vllm" else write_as_ours)(args)
    return []


def write_as_ours(args: argparse.Namespace) -> None:
    from utils.model.adapter_conversion import convert

    info = convert(args.adapter, args.output, args.base_model)
    print(f"{args.output}: adapter for {info.base_model}, prompt layout {info.layout}")


def write_for_vllm(args: argparse.Namespace) -> None:
    import torch

    from utils.serving.vllm_checkpoint import write_vllm_checkpoint

    dtype = args.dtype and getattr(torch, args.dtype)
    stored, info = write_vllm_checkpoint(args.adapter, args.output, args.base_model, dtype)
    print(
        f"{args.output}: {info.base_model} with {args.adapter}, {stored}, photos of {info.min_pixels:,} to "
        f"{info.max_pixels:,} pixels\n    vllm serve {args.output} --dtype {stored}"
    )


if __name__ == "__main__":
    sys.exit(main())
