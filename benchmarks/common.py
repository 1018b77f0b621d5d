"""What the benchmark scripts make of their common flags: device and dtype, queries, and how a measurement is named."""

import argparse
import os
from pathlib import Path

import torch

from benchmarks.inputs import Inputs, earth_inputs, synthetic_inputs
from utils.geo_ranker import GeoRanker


def place(args: argparse.Namespace) -> None:
    """Put torch's own device and dtype into ``args`` (``flags.parse``) for what their flags say."""
    args.device = torch.device(args.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    args.dtype = getattr(torch, args.dtype or ("float32" if args.device.type == "cpu" else "bfloat16"))


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
