"""Make training data for the ranker: queries with the gallery photos retrieved for them (GeoRanking parquet).

    python build_georanking.py --root_path dataset/earth/train --gallery dataset/earth/gallery/metadata.csv \\
        --result_path dataset/earth/georanking.parquet

--root_path holds what retrieve_candidates.py read and wrote: metadata.csv, retrieval.csv and I.npy, and, if
there are generated candidates, the table of lvlm_zs_predict.py (--generation_path). Reference 0 of a row is
the query itself, which training skips. Unusable rows are named and left out, and the exit code is 1.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from utils.command import run_command
from utils.compile import FoundPhotos, generated_places, georanking_rows, median_km_by_rank
from utils.georanking import write_georanking
from utils.tables import read_metadata, read_retrieval_table


def build(args: argparse.Namespace) -> list[str]:
    """Write the parquet file and a short report. Returns what was left out."""
    retrieval, problems = read_retrieval_table(args.retrieval_path or args.root_path / "retrieval.csv")
    indices = np.load(args.index_path or args.root_path / "I.npy")
    metadata = read_metadata(args.metadata_path or args.root_path / "metadata.csv")
    generated = {}
    if args.generation_path:
        generated, unusable, more = generated_places(args.generation_path)
        problems += more
        print(f"{args.generation_path}: {unusable} answers name no usable place and were dropped")
    photos = FoundPhotos.of(indices, read_metadata(args.gallery))
    rows = georanking_rows(retrieval, photos, metadata, generated)
    write_georanking(args.result_path, rows)
    print(f"{args.result_path}: {len(rows)} rows; median km of references 0 (the query itself), 1, ...:")
    print(" ".join(f"{distance:.0f}" for distance in median_km_by_rank(rows)))
    return problems


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root_path", type=Path, required=True, help="folder of the training queries")
    parser.add_argument("--gallery", type=Path, required=True, help="metadata table that I.npy counts in")
    parser.add_argument("--result_path", type=Path, required=True, help="parquet file to write")
    parser.add_argument("--metadata_path", type=Path, help="default: metadata.csv in --root_path")
    parser.add_argument("--retrieval_path", type=Path, help="default: retrieval.csv in --root_path")
    parser.add_argument("--index_path", type=Path, help="default: I.npy in --root_path")
    parser.add_argument("--generation_path", type=Path, help="generation table (default: none)")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    return run_command(lambda: build(args))


if __name__ == "__main__":
    sys.exit(main())
