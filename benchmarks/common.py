"""What the benchmark scripts have in common: their arguments, and what follows from them."""

import argparse
import os
from pathlib import Path

import torch

from benchmarks.inputs import EARTH, Inputs, earth_inputs, synthetic_inputs
from benchmarks.models import PRESETS
from utils.geo_ranker import GeoRanker
from utils.model.budget import MAX_TOKENS
from utils.model.prompts import LAYOUTS

EARTH_PHOTO = (64, 64)


def parse(
    parser: argparse.ArgumentParser, argv: list[str] | None, candidates: int = 12, generated: int = 3
) -> argparse.Namespace:
    """Common arguments and those that ``parser`` has already; ``device`` and ``dtype`` are torch's.

    ``candidates`` and ``generated`` are defaults.
    """
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--preset", choices=PRESETS, default="earth", help="earth: the shipped model; else random weights of a shape")
    add("--photo", type=photo_size, metavar="WxH", help="query photos; default: 1024x768, of earth 64x64")
    add("--candidate_photo", type=photo_size, metavar="WxH", help="default: 500x375, of earth 64x64")
    add("--layout", choices=LAYOUTS, default="published", help="of the prompt, on both sides")
    add("--candidates", type=int, default=candidates, help="with photos, of each query")
    add("--generated", type=int, default=generated, help="candidates without photos, of each query")
    add("--queries", type=int, default=4, help="measured in each run")
    add("--repeats", type=int, default=5, help="runs of each side, of which the median counts")
    add("--carrier", choices=("cache", "packed"), help="how ours reads a query, see utils/geo_ranker.py")
    add("--max_tokens", type=int, default=MAX_TOKENS, help="in a batch of ours")
    add("--device", type=torch.device, help="default: cuda where there is one, else cpu")
    add("--dtype", choices=("float32", "bfloat16"), help="default: float32 on a CPU, else bfloat16")
    add(
        "--attn_implementation",
        choices=("sdpa", "eager", "flex_attention"),
        default="sdpa",
        help="of both sides; flex_attention of ours, see benchmarks/flex.py",
    )
    add("--output", type=Path, help="results as JSON")
    args = parser.parse_args(argv)
    for name, least in (("candidates", 0), ("generated", 0), ("queries", 1), ("repeats", 1), ("max_tokens", 1)):
        if getattr(args, name) < least:
            parser.error(f"--{name} is {getattr(args, name)}: it is at least {least}")
    if args.candidates + args.generated < 2:
        parser.error("there is nothing to rank: --candidates and --generated are less than 2 together")
    args.device = args.device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    args.dtype = getattr(torch, args.dtype or ("float32" if args.device.type == "cpu" else "bfloat16"))
    args.earth_data = args.preset == "earth" and not (args.photo or args.candidate_photo)
    args.earth_data = args.earth_data and (EARTH / "test/candidates.csv").exists()
    earth = args.preset == "earth"
    args.photo = args.photo or (EARTH_PHOTO if earth else (1024, 768))
    args.candidate_photo = args.candidate_photo or (EARTH_PHOTO if earth else (500, 375))
    return args


def photo_size(text: str) -> tuple[int, int]:
    """``WIDTHxHEIGHT`` -> (width, height). Raises ``argparse.ArgumentTypeError`` for anything else."""
    try:
        width, height = map(int, text.split("x"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no WIDTHxHEIGHT") from error
    if min(width, height) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: a photo has at least one pixel a side")
    return width, height


def make_inputs(args: argparse.Namespace, ranker: GeoRanker, folder: str | os.PathLike) -> Inputs:
    """Earth's test queries where they are built and no photo size is asked for, else synthetic ones in ``folder``."""
    if args.earth_data:
        return earth_inputs(args.queries, args.candidates, args.generated)
    return synthetic_inputs(
        Path(folder),
        ranker.packer.tokenizer,
        count=args.queries,
        candidates=args.candidates,
        generated=args.generated,
        photo=args.photo,
        candidate_photo=args.candidate_photo,
    )


def settings(args: argparse.Namespace) -> dict[str, dict[str, str]]:
    return {"settings": {name: str(value) for name, value in vars(args).items()}}


def title(args: argparse.Namespace) -> str:
    """What was measured, in a line."""
    photos = (
        "Earth data" if args.earth_data else "query {}x{}, candidates {}x{}".format(*args.photo, *args.candidate_photo)
    )
    return (
        f"{args.preset}, {args.layout}, {args.candidates} + {args.generated} candidates, {photos}, "
        f"{str(args.dtype).removeprefix('torch.')}, {args.attn_implementation}, {args.device}"
    )
