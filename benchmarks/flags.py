"""The flags that the benchmark scripts have in common."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.presets import PRESETS, TEST_CANDIDATES
from utils.cli.flags import at_least
from utils.model.budget import MAX_TOKENS
from utils.model.prompts import LAYOUTS
from utils.model.sharing import SHARINGS

EARTH_PHOTO = (64, 64)


def parse(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None, candidates: int = 12, generated: int = 3
) -> argparse.Namespace:
    """Common arguments and those that ``parser`` has already; ``candidates`` and ``generated`` are defaults.

    ``device`` and ``dtype`` are text, or None where they are left to the machine: ``common.place`` says which.
    """
    add = parser.add_argument
    add("--preset", choices=PRESETS, default="earth", help="earth: the shipped model; else random weights of a shape")
    add("--photo", type=photo_size, metavar="WxH", help="query photos; default: 1024x768, of earth 64x64")
    add("--candidate_photo", type=photo_size, metavar="WxH", help="default: 500x375, of earth 64x64")
    add("--candidate_max_pixels", type=at_least(1), help="shrink candidates' photos to it, on both sides")
    add("--layout", choices=LAYOUTS, default="published", help="of the prompt, on both sides")
    add("--candidates", type=at_least(0), default=candidates, help="with photos, of each query")
    add("--generated", type=at_least(0), default=generated, help="candidates without photos, of each query")
    add("--queries", type=at_least(1), default=4, help="measured in each run")
    add("--repeats", type=at_least(1), default=5, help="runs of each side, of which the median counts")
    add("--sharing", choices=SHARINGS, help="how candidates share a prefix in ours, see utils/model/sharing.py")
    add("--max_tokens", type=at_least(1), default=MAX_TOKENS, help="in a batch of ours")
    add("--device", help="default: cuda where there is one, else cpu")
    add("--dtype", choices=("float32", "bfloat16"), help="default: float32 on a CPU, else bfloat16")
    add(
        "--attn_implementation",
        choices=("sdpa", "eager", "flex_attention"),
        default="sdpa",
        help="of both sides; flex_attention of ours, see benchmarks/flex.py",
    )
    add_output(parser)
    args = parser.parse_args(arguments)
    if args.candidates + args.generated < 2:
        parser.error("there is nothing to rank: --candidates and --generated are less than 2 together")
    args.earth_data = args.preset == "earth" and not (args.photo or args.candidate_photo) and TEST_CANDIDATES.exists()
    earth = args.preset == "earth"
    args.photo = args.photo or (EARTH_PHOTO if earth else (1024, 768))
    args.candidate_photo = args.candidate_photo or (EARTH_PHOTO if earth else (500, 375))
    return args


def add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=Path, help="results as JSON")


def photo_size(text: str) -> tuple[int, int]:
    """``WIDTHxHEIGHT`` -> (width, height). Raises ``argparse.ArgumentTypeError`` for anything else."""
    try:
        width, height = map(int, text.split("x"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no WIDTHxHEIGHT") from error
    if min(width, height) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: a photo has at least one pixel a side")
    return width, height
