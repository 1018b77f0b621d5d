"""What does a benchmark have in common with a gallery? Owners, ids, pictures; and which of its photos are placeholders.

    python -m tools.audit_benchmark --dataset yfcc4k                        the published gallery
    python -m tools.audit_benchmark --dataset earth --index dataset/earth/gallery/index
    python -m tools.audit_benchmark --queries q.csv --image_path photos --gallery g.csv --image_data_path g.tar \\
        --output leaks.csv

writes a table with a row for each query and reason: same_id, same_owner, near_duplicate (the same picture: re-encoded,
resized, made brighter, or cropped by up to 10% at an edge) and placeholder (a picture of many queries).
`evaluate.py --leave_out` takes it. With --index photos of similar embeddings are compared, too. The photos are hashed
once, into --hashes; interrupted, the same command goes on. A photo that cannot be read is named, and the exit code is
1. docs/audit.md has what is found and what is not.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from utils.auditing.thresholds import LIKENESS, MANY
from utils.cli.command import run_command
from utils.cli.flags import add_device, add_gallery_photos, add_workers, at_least, probability, script_parser
from utils.data_paths import BENCHMARKS, EARTH_SPLITS, FLICKR_OWNER, PUBLISHED_METADATA, check_files
from utils.jobs.outputs import check_apart, check_outputs
from utils.jobs.packages import check_package

if TYPE_CHECKING:
    import pandas as pd

    from utils.tables.leak_table import Leak


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__, "tools.audit_benchmark")
    add = parser.add_argument
    add("--dataset", choices=BENCHMARKS, help="benchmark; sets the defaults of all paths")
    add("--split", choices=EARTH_SPLITS, help="queries of --dataset earth; default: test")
    add("--queries", type=Path, help="table of the queries with IMG_ID, LAT, LON; a candidate table will do")
    add("--image_path", help="folder of the query photos")
    gallery = parser.add_mutually_exclusive_group()
    gallery.add_argument("--gallery", "--gallery_metadata", type=Path, help="metadata CSV of the gallery")
    gallery.add_argument("--index", type=Path, help="index folder, in place of --gallery: embeddings are compared, too")
    add("--model", help="encoder of the index, if it is not where it was at build time")
    add_gallery_photos(add)
    add(
        "--owner",
        metavar="REGEX",
        help="its group matches the owner in an IMG_ID; default: Flickr's where the gallery's name one",
    )
    add("--many", type=at_least(2), default=MANY, help="queries that show one picture, a placeholder (%(default)s)")
    add("--likeness", type=probability, default=LIKENESS, help="of photos of one picture, docs/audit.md (%(default)s)")
    add("--hashes", type=Path, default=Path("outputs/audit/hashes"), help="folder for hashes (%(default)s)")
    add("--output", type=Path, help="table to write; default: outputs/audit/DATASET.csv")
    add_device(add)
    add_workers(add, default=2)
    args = parser.parse_args(arguments)
    if args.split is not None and args.dataset != "earth":
        parser.error("--split is for --dataset earth")
    if args.model is not None and args.index is None:
        parser.error("--model is of no use without --index")
    if args.dataset is not None:
        set_defaults(args)
    missing = [name for name in ("queries", "image_path", "image_data_path", "output") if getattr(args, name) is None]
    if missing or (args.gallery or args.index) is None:
        parser.error(f"without --dataset give {', '.join(f'--{name}' for name in missing or ['gallery or --index'])}")
    return args


def set_defaults(args: argparse.Namespace) -> None:
    """Give the paths that are left open those of the data set."""
    known, split = BENCHMARKS[args.dataset], args.split or "test"
    args.queries = args.queries or Path(known.candidates.format(split=split))
    args.image_path = args.image_path or known.image_path.format(split=split)
    args.image_data_path = args.image_data_path or known.image_data_path
    if args.index is None:
        args.gallery = args.gallery or Path(known.gallery_metadata or PUBLISHED_METADATA)
    args.output = args.output or Path("outputs/audit", f"{args.dataset}{f'-{args.split}' if args.split else ''}.csv")


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(
        lambda: audit(args),
        quiet=args.quiet,
        stopped="stopped; the hashes made so far are kept, and the same command goes on from there",
    )


def audit(args: argparse.Namespace) -> list[str]:
    """Write the table and a summary. Returns the rows that come again and the photos that could not be read."""
    names = ("queries", "image_path", "gallery", "image_data_path", "tar_index_path")
    index = args.index and args.index / "index.json"
    inputs = [*((name, getattr(args, name)) for name in names), ("index", index)]
    check_files(inputs)
    check_apart([("--output", args.output)], inputs)
    check_outputs([("--output", args.output)], [("--hashes", args.hashes)])
    check_package("tools.audit_benchmark", "imagehash", "audit")

    from utils.auditing.near_duplicates import Photos
    from utils.auditing.pictures import picture_leaks
    from utils.auditing.similar import Similar
    from utils.model.device import checked_device, own_device
    from utils.photos.store import ImageStore
    from utils.retrieval.gallery import Gallery
    from utils.tables.leak_table import write_leaks
    from utils.tables.metadata import read_metadata

    index = Gallery(args.index) if args.index else None
    ids = read_metadata(args.queries)["IMG_ID"]
    again = ids[ids.duplicated()]
    ids = ids.drop_duplicates()
    gallery_ids = (read_metadata(args.gallery) if index is None else index.metadata)["IMG_ID"]
    queries = Photos(ids.tolist(), ImageStore.from_paths([args.image_path]))
    gallery = Photos(gallery_ids.tolist(), ImageStore.from_paths([args.image_data_path], args.tar_index_path))
    leaks = leaks_by_table(ids, gallery_ids, args.owner)
    found = {}
    if index is not None:
        device = str(checked_device(args.device or own_device(0)))
        similar = Similar(index, queries, args.model, device, args.num_workers)
        found = {"similar": similar.rows, "cosine": similar.cosine}
    how = {"many": args.many, "least": args.likeness} | found
    pictures, problems = picture_leaks(queries, gallery, args.hashes, args.num_workers, **how)
    leaks += pictures
    write_leaks(args.output, leaks)
    print_summary(args, leaks, len(ids), len(gallery_ids))
    named = [
        f"{args.queries}: row {row} ({name}): this IMG_ID was there before; left out" for row, name in again.items()
    ]
    return named + problems


def leaks_by_table(ids: "pd.Series", gallery_ids: "pd.Series", owner: str | None) -> "list[Leak]":
    """Equal ids and shared owners. Without ``owner`` it is looked for where the gallery has ids of Flickr's."""
    from utils.auditing.shared import shared_leaks
    from utils.retrieval.exclusions import same_id, same_owner

    sides = ids.tolist(), gallery_ids.tolist()
    leaks = shared_leaks(same_id(ids, gallery_ids), "same_id", *sides)
    if owner is None and not gallery_ids.str.contains(FLICKR_OWNER.strip("()")).any():
        print("Owners are unknown: no IMG_ID of the gallery names one as Flickr's do; --owner says how they are named.")
        return leaks
    return leaks + shared_leaks(same_owner(ids, gallery_ids, owner or FLICKR_OWNER), "same_owner", *sides)


def print_summary(args: argparse.Namespace, leaks: "list[Leak]", queries: int, photos: int) -> None:
    from utils.tables.leak_table import REASONS

    counts = Counter(leak.reason for leak in leaks)
    print(f"{len({leak.IMG_ID for leak in leaks}):,} of {queries:,} queries leak; the gallery has {photos:,} photos")
    for reason, meaning in REASONS.items():
        print(f"  {counts[reason]:>6,}  {reason}: {meaning}")
    print(f"{args.output}: for evaluate.py --leave_out")


if __name__ == "__main__":
    sys.exit(main())
