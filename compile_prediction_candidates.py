"""Join retrieved and generated candidates into one candidate table, the input of evaluate.py.

    python compile_prediction_candidates.py
    python compile_prediction_candidates.py --root_path dataset/earth/test \\
        --gallery dataset/earth/gallery/metadata.csv

Only the retrieval table must be there. Other files at their default places are used if they exist, and it is
said when they do not; a file that is named must exist.

    retrieval table    coordinates of the candidates          required
    I.npy + gallery    their place names and photos           else the prompt has neither
    S.npy              their cosines (ranker `similarity`)    else there is no such ranker
    generation table   places guessed by an LVLM              else there are no generated candidates

Unusable rows and coordinates are named and left out, and the exit code is 1. Answers of an LVLM that name no
usable place are dropped and counted.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from utils.candidates import write_candidate_table
from utils.command import run_command
from utils.compile import FoundPhotos, candidate_rows, generated_places
from utils.tables import read_metadata, read_retrieval_table

GALLERY = Path("dataset/mp16/MP16_Pro_filtered.csv")


def optional(path: Path | None, default: Path, absence: str) -> Path | None:
    """``path`` as it was named, else ``default`` where it exists, else None, saying what that means."""
    if path is not None or default.exists():
        return path or default
    print(f"{default} does not exist: {absence}")
    return None


def compile_table(args: argparse.Namespace) -> list[str]:
    """Write the candidate table. Returns what was left out."""
    root = args.root_path
    index_path = optional(args.index_path, root / "I.npy", "no texts and no photos")
    gallery = index_path and optional(args.gallery, GALLERY, "no texts and no photos")
    similarity_path = optional(args.similarity_path, root / "S.npy", "no similarities")
    generation_path = optional(args.generation_path, root / "generation.csv", "no generated candidates")

    retrieval, problems = read_retrieval_table(args.retrieval_path or root / "retrieval.csv")
    photos = FoundPhotos.of(np.load(index_path), read_metadata(gallery)) if gallery else None
    similarity = np.load(similarity_path) if similarity_path else None
    generated = {}
    if generation_path:
        generated, unusable, more = generated_places(generation_path)
        problems += more
        problems += [f"{row.img_id}: not in {generation_path}" for row in retrieval if row.img_id not in generated]
        print(f"{generation_path}: {unusable} answers name no usable place and were dropped")
    rows = candidate_rows(retrieval, photos, similarity, generated)
    result_path = args.result_path or root / "candidates.csv"
    write_candidate_table(result_path, rows)
    retrieved, guesses = sum(len(row.gps) for row in rows), sum(len(row.zs_gps) for row in rows)
    print(f"{result_path}: {len(rows)} queries, {retrieved} retrieved and {guesses} generated candidates")
    return problems


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--root_path",
        type=Path,
        default=Path("dataset/im2gps3k"),
        help="folder of the benchmark (%(default)s)",
    )
    parser.add_argument("--retrieval_path", type=Path, help="default: retrieval.csv in --root_path")
    parser.add_argument("--index_path", type=Path, help="default: I.npy in --root_path")
    parser.add_argument("--gallery", type=Path, help=f"metadata table that I.npy counts in (default: {GALLERY})")
    parser.add_argument("--similarity_path", type=Path, help="default: S.npy in --root_path")
    parser.add_argument("--generation_path", type=Path, help="default: generation.csv in --root_path")
    parser.add_argument("--result_path", type=Path, help="default: candidates.csv in --root_path")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    return run_command(lambda: compile_table(args))


if __name__ == "__main__":
    sys.exit(main())
