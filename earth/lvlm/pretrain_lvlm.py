"""Pretrain the tiny LVLM of the embedded world from scratch and save it as an ordinary transformers folder.

    python -m earth.lvlm.pretrain_lvlm                          # the shipped recipe (docs/history/earth.md: its cost)
    python -m earth.lvlm.pretrain_lvlm --resume                 # go on after an interruption

The losses, all on the same photos of a batch, whose image tokens are computed once:

    match   two-view contrastive: a photo's mean image token against those of the gallery tiles in the batch, with soft
            targets exp(-km / 30), both ways
    place   the same token against encoded coordinates (Fourier features of the unit vector), soft targets
            exp(-km / 100), as GeoCLIP aligns pictures with places
    guess   next token: the generation prompt, answered with the photo's coordinates as JSON
    far     next token: the ranker's own question on a photo and a candidate, answered with level and kilometres

Next-token loss alone leaves the language model blind for long: most of it is the noise of last digits. So the state
that the answer starts from has a say of its own, in `guess` on the encoded coordinates (as in `place`), in `far` on the
logarithm of the kilometres.

The learning rate warms up, stays, and falls linearly over the last quarter; resuming with another --steps is fine as
long as the fall has not begun.
"""

import argparse
import sys
from collections.abc import Sequence

from earth.lvlm.flags import add_flags, open_run, parse
from utils.cli.command import run_command
from utils.cli.flags import at_least, script_parser


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__, "earth.lvlm.pretrain_lvlm")
    add_flags(parser, "runs/earth-base", steps=4400, peak=1.5e-3, save_every=250, seed=0)
    add = parser.add_argument
    add("--batch_size", type=at_least(9), default=64, help="photo-tile pairs a step (%(default)s)")
    add("--lessons", type=at_least(1), default=64, help="texts a step, no more than pairs (%(default)s)")
    add("--validate_every", type=at_least(1), default=1000, help="steps (%(default)s)")
    args = parse(parser, arguments)
    if args.lessons > args.batch_size:
        parser.error("--batch_size must be at least 9, and --lessons between 1 and that")
    return args


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: work(args), quiet=args.quiet)


def work(args: argparse.Namespace) -> list[str]:
    """Pretrain, once all files are there."""
    open_run(args)
    from earth.lvlm.sight import pretrain

    pretrain(args)
    return []


if __name__ == "__main__":
    sys.exit(main())
