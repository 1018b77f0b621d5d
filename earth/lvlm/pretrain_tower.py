"""Teach the tiny LVLM's vision tower details: the second stage of pretraining.

    python -m earth.lvlm.pretrain_tower             # goes on from the weights of earth.lvlm.pretrain_lvlm
    python -m earth.lvlm.pretrain_tower --resume    # go on after an interruption

The first stage compares pictures by their mean image token, one vector a picture, in which the details of a valley
drown. Here each token has to know its own ground. The tower trains alone, the language model is left as it is. The
losses, in batches of photos beside gallery tiles:

    match     the mean image tokens, as in the first stage
    place     the mean image tokens against encoded coordinates, as in the first stage
    patch     each token of a photo against the tokens of all tiles, soft targets exp(-km / PATCH_KM) by the ground that
              the tokens show, both ways
    overlap   photos against tiles by late interaction (the mean over the tokens of one picture of the highest cosine
              with a token of the other, as in ColBERT, 2004.12832), soft targets as in `match`

A language model that reads two pictures side by side can compare token with token; a retriever that keeps one vector
a picture can not.
"""

import argparse
import sys
from collections.abc import Sequence

from earth.lvlm.flags import add_flags, add_flags_of_later_stages, open_run, parse
from utils.cli.command import run_command
from utils.cli.flags import at_least, script_parser


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__, "earth.lvlm.pretrain_tower")
    add_flags(parser, "runs/earth-tower", steps=4000, peak=6e-4, save_every=250, seed=2)
    add_flags_of_later_stages(parser)
    add = parser.add_argument
    add("--batch_size", type=at_least(9), default=96, help="photo-tile pairs a step (%(default)s)")
    add("--validate_every", type=at_least(1), default=500, help="steps (%(default)s)")
    return parse(parser, arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: work(args), quiet=args.quiet)


def work(args: argparse.Namespace) -> list[str]:
    """Train the tower, once all files are there."""
    open_run(args, args.model)
    from earth.lvlm.tower import train

    train(args)
    return []


if __name__ == "__main__":
    sys.exit(main())
