"""Cut the embedded benchmark out of the Earth: a gallery and four splits of query photos, in the released formats.

    python -m earth.build_dataset                          # dataset/earth: 20,000 gallery tiles, 21,500 photos
    python -m earth.build_dataset --output_dir tiny --gallery_size 500 --split_sizes 100 100 20 20
    python -m earth.build_dataset --calibration_sizes 5000 5000    # 10,000 further photos: make calibration

Written below --output_dir, everything determined by --seed:

    gallery/images.tar, gallery/tar_index.pkl, gallery/metadata.csv    clean tiles, IMG_ID, LAT, LON and place names
    {pretrain,train,val,test}/images/*.jpg, {...}/metadata.csv         photos of other centres, as they differ
    {calibration,check}/images/*.jpg, {...}/metadata.csv               the same, with --calibration_sizes alone

No two tiles or photos of the whole benchmark share a centre. A part that is already there is kept, so an interrupted
run goes on where it stopped, and the calibration photos are the same whether they are built at once or later.
"""

import argparse
import multiprocessing
import sys
from collections.abc import Sequence
from pathlib import Path

from earth.recipe import DEFAULT_DIR, SPLIT_SIZES
from utils.cli.command import run_command
from utils.cli.flags import at_least, script_parser
from utils.jobs.outputs import check_outputs


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__, "earth.build_dataset")
    add = parser.add_argument
    add("--output_dir", type=Path, default=DEFAULT_DIR, help="default: %(default)s")
    add("--gallery_size", type=at_least(1), default=SPLIT_SIZES[0], help="gallery tiles (%(default)s)")
    add(
        "--split_sizes",
        type=at_least(1),
        nargs=4,
        default=SPLIT_SIZES[1:],
        metavar=("PRETRAIN", "TRAIN", "VAL", "TEST"),
        help="query photos of each split (default: 14000 6000 500 1000)",
    )
    add(
        "--calibration_sizes",
        type=at_least(1),
        nargs=2,
        metavar=("CALIBRATION", "CHECK"),
        help="photos of two further splits; default: neither is built",
    )
    add("--seed", type=at_least(0), default=0, help="what is drawn where (%(default)s)")
    add("--workers", type=at_least(1), default=multiprocessing.cpu_count(), help="rendering processes")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: write_benchmark(args), quiet=args.quiet)


def write_benchmark(args: argparse.Namespace) -> list[str]:
    """Write what --output_dir lacks."""
    check_outputs(folders=[("--output_dir", args.output_dir)])
    from earth.world.splits import build

    sizes = (args.gallery_size, *args.split_sizes)
    build(args.output_dir, sizes, args.seed, args.workers, args.calibration_sizes)
    return []


if __name__ == "__main__":
    sys.exit(main())
