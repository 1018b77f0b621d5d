"""Make training data for the ranker: queries with the gallery photos retrieved for them (GeoRanking parquet).

Queries of your own, with what retrieve_candidates.py read and wrote for them in --root_path (metadata.csv,
retrieval.csv and I.npy):

    python build_georanking.py --root_path dataset/earth/train --gallery dataset/earth/gallery/metadata.csv \\
        --result_path dataset/earth/georanking.parquet

Queries that are gallery photos, as in the released GeoRanking; an index is all that is needed:

    python build_georanking.py --index dataset/earth/gallery/index --num_rows 10000 \\
        --result_path dataset/earth/gallery/georanking.parquet

There the query itself and its near-copies are no references: photos of the same id, of the same owner
(--owner_column), and photos that are both within --copy_metres and alike to --copy_cosine. The same --seed chooses
the same queries, and more rows are the same rows and some behind.

Reference 0 of a row is the query itself, which training skips; the last five are its hard negatives. Generated
candidates come from the table of lvlm_zs_predict.py (--generation_path). Unusable rows are named and left out, and
the exit code is 1. The file appears when it is complete; interrupted, the command starts anew.
"""

import argparse
import logging
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from utils.cli.command import run_command
from utils.cli.flags import at_least, script_parser
from utils.cli.given import given_flags, refuse
from utils.data_paths import check_files
from utils.jobs.outputs import check_outputs
from utils.jobs.progress import progress_bar
from utils.training.copy_rule import CopyRule

if TYPE_CHECKING:
    from utils.training.georanking import GeoRankingRow

logger = logging.getLogger("scripts")


WITH_ROOT = ("gallery", "metadata_path", "retrieval_path", "index_path")
WITH_INDEX = ("num_rows", "seed", "references", "owner_column", "copy_metres", "copy_cosine")


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--root_path", type=Path, help="folder of the training queries")
    source.add_argument("--index", type=Path, help="index folder of a gallery whose photos are the queries")
    parser.add_argument("--result_path", type=Path, required=True, help="parquet file to write")
    parser.add_argument("--generation_path", type=Path, help="generation table (default: none)")
    queries = parser.add_argument_group("with --root_path")
    queries.add_argument("--gallery", type=Path, help="metadata table that I.npy counts in")
    queries.add_argument("--metadata_path", type=Path, help="default: metadata.csv in --root_path")
    queries.add_argument("--retrieval_path", type=Path, help="default: retrieval.csv in --root_path")
    queries.add_argument("--index_path", type=Path, help="default: I.npy in --root_path")
    gallery = parser.add_argument_group("with --index")
    gallery.add_argument("--num_rows", type=at_least(1), default=100_000, help="queries (%(default)s, as published)")
    gallery.add_argument("--seed", type=at_least(0), default=0, help="which photos are the queries (%(default)s)")
    gallery.add_argument("--references", type=at_least(1), default=20, help="of a query, without itself (%(default)s)")
    gallery.add_argument("--owner_column", help="column of the gallery's metadata table (default: owners are unknown)")
    gallery.add_argument("--copy_metres", type=float, default=CopyRule.metres, help="of near-copies (%(default)s)")
    gallery.add_argument("--copy_cosine", type=float, default=CopyRule.cosine, help="of near-copies (%(default)s)")
    args = parser.parse_args(arguments)
    given = given_flags(parser, arguments, args)
    if args.root_path:
        refuse(parser, given, WITH_INDEX, "with --root_path")
    else:
        refuse(parser, given, WITH_ROOT, "with --index")
    if args.root_path and not args.gallery:
        parser.error("--root_path needs --gallery, the metadata table that I.npy counts in")
    return args


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: build(args), quiet=args.quiet)


def build(args: argparse.Namespace) -> list[str]:
    """Write the parquet file and a short report. Returns what was left out."""
    files = [("generation_path", args.generation_path), ("index", args.index)]
    if args.root_path:
        args.retrieval_path = args.retrieval_path or args.root_path / "retrieval.csv"
        args.metadata_path = args.metadata_path or args.root_path / "metadata.csv"
        args.index_path = args.index_path or args.root_path / "I.npy"
        files += [(name, getattr(args, name)) for name in ("retrieval_path", "metadata_path", "index_path", "gallery")]
    check_files(files)
    check_outputs([("--result_path", args.result_path)])

    from utils.tables.join import generated_places
    from utils.training.georanking import write_georanking
    from utils.training.rows_of_queries import RankDistances

    generated, problems = {}, []
    if args.generation_path:
        generated, unusable, problems = generated_places(args.generation_path)
        logger.info("%s: %d answers name no usable place and were dropped", args.generation_path, unusable)
    rows, total = (of_gallery if args.index else of_queries)(args, generated, problems)
    distances = RankDistances()
    count = write_georanking(
        args.result_path, distances.watch(progress_bar(rows, total=total, desc="rows", unit="row"))
    )
    print(f"{args.result_path}: {count} rows; median km of references 0 (the query itself), 1, ...:")
    print(" ".join(f"{median:.0f}" for median in distances.medians()))
    return problems


def of_queries(args: argparse.Namespace, generated: dict, problems: list[str]) -> tuple["Iterable[GeoRankingRow]", int]:
    """Rows of the queries in --root_path, and how many."""
    from utils.tables.join import FoundPhotos
    from utils.tables.metadata import read_metadata
    from utils.tables.retrieval_table import read_retrieval_table
    from utils.training.rows_of_queries import georanking_rows

    retrieval, unusable = read_retrieval_table(args.retrieval_path)
    problems += unusable
    metadata = read_metadata(args.metadata_path)
    photos = FoundPhotos.read(args.index_path, args.gallery)
    return georanking_rows(retrieval, photos, metadata, generated), len(retrieval)


def of_gallery(args: argparse.Namespace, generated: dict, problems: list[str]) -> tuple["Iterable[GeoRankingRow]", int]:
    """Rows of queries chosen from the gallery of --index, and how many."""
    from utils.retrieval.gallery import Gallery
    from utils.training.rows_of_gallery import ReferenceFinder, choose_queries, gallery_rows, read_owners

    gallery = Gallery(args.index)
    owners = args.owner_column and read_owners([part.table for part in gallery.parts], args.owner_column)
    finder = ReferenceFinder(gallery, args.references, CopyRule(args.copy_metres, args.copy_cosine), owners)
    queries = choose_queries(gallery, args.num_rows, args.seed)
    return gallery_rows(finder, queries, generated, problems), len(queries)


if __name__ == "__main__":
    sys.exit(main())
