"""Rewards and times of a vLLM server beside ours, on the same queries.

    python -m benchmarks.vllm_check --python .venv-vllm/bin/python

`make vllm-check` builds that environment and runs this. The shipped Earth model and its adapter, and random models of
the families that vLLM has, with photos that are resized or, to tell that apart, need not be, are converted
(tools/convert_adapter.py), served and asked by the client of evaluate.py: both prompt layouts, with and without the
candidates' photos. For each of them: how far the rewards are apart, how many tokens vLLM took from its prefix cache, by
its own metrics, and what both engines take.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.flags import add_output
from benchmarks.presets import TEST_CANDIDATES, check, check_shipped
from utils.cli.command import run_command
from utils.cli.flags import at_least, script_parser
from utils.jobs.outputs import check_outputs

MODELS = ("earth", "earth-bfloat16", "qwen2_vl", "qwen2_vl-unresized", "qwen2_5_vl", "qwen3_vl")


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__, "benchmarks.vllm_check")
    add = parser.add_argument
    add("--python", type=Path, default=Path(".venv-vllm/bin/python"), help="of the environment with vLLM (%(default)s)")
    add("--models", choices=MODELS, nargs="+", default=MODELS, help="default: all of them")
    add("--queries", type=at_least(2), default=50, help="asked about in each way (%(default)s)")
    add("--threads", type=at_least(1), default=1, help="of ours; vLLM leaves one core to its server (%(default)s)")
    add_output(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: compare(args), RuntimeError, quiet=args.quiet)


def compare(args: argparse.Namespace) -> list[str]:
    """Serve and ask, print the table and write the figures."""
    check_shipped()
    check((TEST_CANDIDATES,))
    if not args.python.exists():
        raise FileNotFoundError(f"--python {args.python} does not exist: `make vllm-check` builds it and runs this")
    check_outputs([("--output", args.output)])
    from benchmarks.work.vllm_check import run

    run(args)
    return []


if __name__ == "__main__":
    sys.exit(main())
