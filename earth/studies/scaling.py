"""How far a larger gallery carries: accuracy on the test photos of the embedded world against the number of tiles.

    python -m earth.studies.scaling    # 5,000 to 80,000 tiles, into docs/earth/scaling.json
    python -m earth.studies.scaling --sizes 5000 20000 --model_path outputs/earth --output runs/scaling.json

The galleries are nested. Smaller ones are the first tiles of the gallery that the README's steps built and embedded,
larger ones are all of them and further tiles, drawn in the same way and sharing no centre with any split. Each is
indexed, searched and ranked as the README does it; --topn_zs adds the guesses of the test split, the same ones
whatever the gallery.

Tiles (in parts of 20,000), embeddings and rewards are kept in --run_dir, in a folder for every built world: an
interrupted run goes on at the next part, shard of embeddings or query. A size that the result has is skipped, unless
other weights or candidates made it: then all sizes are measured again.
"""

import argparse
import multiprocessing
import sys
from collections.abc import Sequence
from pathlib import Path

from earth.recipe import ADAPTER, BASE, DEFAULT_DIR, SPLITS, TOPK, TOPN
from utils.cli.command import run_command
from utils.cli.flags import add_device, at_least, script_parser
from utils.data_paths import check_files
from utils.jobs.outputs import check_outputs
from utils.model.adapter_info import FILENAME


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__, "earth.studies.scaling")
    add = parser.add_argument
    sizes = [5_000, 10_000, 20_000, 40_000, 80_000]
    add("--sizes", type=at_least(TOPK), nargs="+", default=sizes, help="tiles (%(default)s)")
    add("--data", type=Path, default=DEFAULT_DIR, help="the built world (%(default)s)")
    add("--seed", type=at_least(0), default=0, help="that the world was built with (%(default)s)")
    add("--queries", type=at_least(1), default=1_000, help="test photos, the first ones (%(default)s)")
    add("--topn_zs", type=at_least(0), default=0, help=f"guesses beside {TOPN} retrieved candidates (%(default)s)")
    add("--model", type=Path, default=BASE, help="base model (%(default)s)")
    add("--model_path", type=Path, default=ADAPTER, help="adapter folder (%(default)s)")
    add("--run_dir", type=Path, default=Path("runs/scaling"), help="tiles, embeddings and rewards (%(default)s)")
    add("--output", type=Path, default=Path("docs/earth/scaling.json"), help="result (%(default)s)")
    add("--workers", type=at_least(1), default=multiprocessing.cpu_count(), help="rendering processes")
    add_device(add)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: work(args), quiet=args.quiet)


def work(args: argparse.Namespace) -> list[str]:
    """Measure the sizes that the result lacks, once all files are there. Returns what could not be used."""
    needed = ("gallery/images.tar", "gallery/index/index.json", "test/images", *(f"{s}/metadata.csv" for s in SPLITS))
    files = [("data", args.data / name) for name in needed]
    files += [("data", args.data / "test" / "generation.csv" if args.topn_zs else None)]
    check_files([*files, ("model", args.model), ("model_path", args.model_path / FILENAME)])
    check_outputs([("--output", args.output)], [("--run_dir", args.run_dir)])
    from earth.studies.gallery_sizes import scale

    return scale(args)


if __name__ == "__main__":
    sys.exit(main())
