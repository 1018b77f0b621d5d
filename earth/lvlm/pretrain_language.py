"""Teach the tiny LVLM's language model to use what its tower sees: the third stage of pretraining.

    python -m earth.lvlm.pretrain_language              # goes on from the weights of earth.lvlm.pretrain_tower
    python -m earth.lvlm.pretrain_language --resume     # go on after an interruption
    torchrun --nproc_per_node 2 -m earth.lvlm.pretrain_language   # as many groups and lessons in each process

The first two stages leave a tower that knows the Earth well and a language model that listens to it little. Here the
tower is frozen and every picture's tokens are computed once, so all the time goes into the language model.
earth/lvlm/language_losses.py says what it has to learn. The ranker's own training (finetune_geo_ranker.py) sees other
places than these.
"""

import argparse
import sys
from collections.abc import Sequence

from earth.lvlm.flags import add_flags, add_flags_of_later_stages, open_run, parse
from utils.cli.command import run_command
from utils.cli.flags import at_least, script_parser


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__, "earth.lvlm.pretrain_language")
    add_flags(parser, "runs/earth-language", steps=4000, peak=1.2e-3, save_every=200, seed=1)
    add_flags_of_later_stages(parser)
    add = parser.add_argument
    add("--groups", type=at_least(1), default=16, help="groups a step (%(default)s)")
    add("--group_size", type=at_least(5), default=10, help="candidates in a group (%(default)s)")
    add("--guesses", type=at_least(1), default=3, help="of them places without a picture (%(default)s)")
    add("--lessons", type=at_least(1), default=64, help="photos a step to guess the coordinates of (%(default)s)")
    add("--negatives", type=at_least(0, float), default=0.3, help="share of steps with negative examples (%(default)s)")
    add("--texts", type=at_least(0, float), default=0.5, help="share of steps with place names (%(default)s)")
    add("--warmup", type=at_least(1), default=50, help="steps (%(default)s)")
    args = parse(parser, arguments)
    if args.group_size - args.guesses < 4:
        parser.error(
            "--guesses, --groups and --lessons must be at least 1, --group_size at least 4 more than --guesses"
        )
    return args


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: work(args), quiet=args.quiet)


def work(args: argparse.Namespace) -> list[str]:
    """Teach the language model, once all files are there."""
    open_run(args, args.model)
    from earth.lvlm.language import teach

    teach(args)
    return []


if __name__ == "__main__":
    sys.exit(main())
