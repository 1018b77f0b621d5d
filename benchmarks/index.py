"""What a compressed index of many photos costs and finds, on synthetic embeddings.

    python -m benchmarks.index --photos 400000 --dimension 2304 --output outputs/index.json

Embeddings are made chunk by chunk from a seed, twice (to train and to fill the index), and never held together in
memory or on disk. They imitate what is known of photo embeddings:

    cone         all share a direction: two random photos have a cosine of about 0.4
    low rank     128 latent dimensions, the j-th with a standard deviation of j ** -0.5, mapped into `dimension`
                 numbers at random, and isotropic noise (the sum of two of 4,096 normal vectors) 0.3 times as long
    clusters     a photo lies near one of photos / 100 places, with 0.7 times the spread of the places among each other

Real embeddings may be harder or easier; no embeddings of G3 were at hand. The measured statistics stand in the output.
Recall@20 is that of `CompressedIndex.search`: the share of the 20 truly most (least) similar photos that are on the
shortlist, which the full embeddings then put in order. Reading those from disk is not part of the search time here.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from utils.cli.command import run_command
from utils.cli.flags import at_least, script_parser
from utils.jobs.files import write_json
from utils.jobs.outputs import check_outputs


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__, "benchmarks.index")
    add = parser.add_argument
    add("--photos", type=at_least(1), default=100_000, help="size of the gallery (%(default)s)")
    add("--dimension", type=at_least(1), default=2304, help="length of an embedding (%(default)s, that of G3)")
    add("--code_bytes", type=at_least(1), default=64, help="size of a code (%(default)s)")
    add("--output", type=Path, required=True, help="JSON file for the result")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: measure_index(args), quiet=args.quiet)


def measure_index(args: argparse.Namespace) -> list[str]:
    """Print and write all figures."""
    check_outputs([("--output", args.output)])
    from benchmarks.work.index import measure

    result = measure(args.photos, args.dimension, args.code_bytes)
    write_json(args.output, result)
    print(json.dumps(result, indent=2))
    return []


if __name__ == "__main__":
    sys.exit(main())
