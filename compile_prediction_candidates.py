"""Join retrieved and generated candidates into one candidate table, the input of evaluate.py.

    python compile_prediction_candidates.py                                  # dataset/im2gps3k
    python compile_prediction_candidates.py --root_path dataset/yfcc4k
    python compile_prediction_candidates.py --root_path dataset/earth/test \\
        --gallery dataset/earth/gallery/metadata.csv

Only the retrieval table must be there. Other files at their default places are used if they exist, and it is
said when they do not; a file that is named must exist.

    retrieval table    coordinates of the candidates          required; a candidate table, such as the released
                                                              one, will do: its retrieved candidates are used
    I.npy + gallery    their place names and photos           else the prompt has neither
    S.npy              their cosines (ranker `similarity`)    else there is no such ranker
    G.npy              GeoCLIP's cosines of photo and place   else there is no ranker `geoclip`; with it the candidates
                                                              are GeoCLIP's points, which no gallery names
    generation table   places guessed by an LVLM              else there are no generated candidates

--fill_names names the candidates that have no names after the nearest populated place, offline.

Unusable rows and coordinates are named and left out, and the exit code is 1. Answers of an LVLM that name no
usable place are dropped and counted.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from utils.cli.command import run_command
from utils.cli.flags import script_parser
from utils.data_paths import BENCHMARKS, PUBLISHED_METADATA, check_files
from utils.jobs.outputs import check_outputs

logger = logging.getLogger("scripts")

NAMED = ("retrieval_path", "index_path", "gallery", "similarity_path", "geoclip_path", "generation_path")


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__)
    add = parser.add_argument
    add("--root_path", type=Path, default=Path("dataset/im2gps3k"), help="folder of the benchmark (%(default)s)")
    add("--retrieval_path", type=Path, help="default: retrieval.csv in --root_path, or the released candidate table")
    add("--index_path", type=Path, help="default: I.npy in --root_path")
    add("--gallery", type=Path, help=f"metadata table that I.npy counts in (default: {PUBLISHED_METADATA})")
    add("--similarity_path", type=Path, help="default: S.npy beside I.npy")
    add("--geoclip_path", type=Path, help="default: G.npy beside I.npy")
    add("--generation_path", type=Path, help="default: generation.csv or llm_predict_results_zs_*.csv in --root_path")
    add("--fill_names", action="store_true", help="name nameless candidates after the nearest populated place")
    add("--result_path", type=Path, help="default: candidates.csv in --root_path")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: compile_table(args), quiet=args.quiet)


def compile_table(args: argparse.Namespace) -> list[str]:
    """Write the candidate table. Returns what was left out."""
    root = args.root_path
    retrieval_path = args.retrieval_path or default_retrieval(root)
    check_files([("retrieval_path", retrieval_path), *((name, getattr(args, name)) for name in NAMED)])
    result_path = args.result_path or root / "candidates.csv"
    check_outputs([("--result_path", result_path)])

    from utils.jobs.reading import read_array
    from utils.tables.candidate_table import write_candidate_table
    from utils.tables.join import FoundPhotos, candidate_rows, generated_places
    from utils.tables.names import fill_names
    from utils.tables.retrieval_table import read_retrieval_table

    beside = (args.index_path or root / "I.npy").with_name  # of the same search
    geoclip_path = args.geoclip_path or (beside("G.npy") if beside("G.npy").exists() else None)
    index_path, gallery = found_in_gallery(args, geoclip_path)
    similarity_path = optional(args.similarity_path, beside("S.npy"), "no similarities")
    generation_path = args.generation_path or optional(None, default_generation(root), "no generated candidates")

    logger.info("retrieved candidates: %s", retrieval_path)
    retrieval, problems = read_retrieval_table(retrieval_path)
    photos = FoundPhotos.read(index_path, gallery) if gallery else None
    similarity, geoclip = (
        read_array(path, ("float32", "float64", "float16"), 2) if path else None
        for path in (similarity_path, geoclip_path)
    )
    generated = {}
    if generation_path:
        generated, unusable, more = generated_places(generation_path)
        problems += more
        problems += [f"{row.img_id}: not in {generation_path}" for row in retrieval if row.img_id not in generated]
        logger.info("%s: %d answers name no usable place and were dropped", generation_path, unusable)
    rows = candidate_rows(retrieval, photos, similarity, generated, geoclip)
    if args.fill_names:
        rows, filled = fill_names(rows)
        logger.info("%d candidates without a name are named after the nearest populated place", filled)
    write_candidate_table(result_path, rows)
    retrieved, guesses = sum(len(row.gps) for row in rows), sum(len(row.zs_gps) for row in rows)
    print(f"{result_path}: {len(rows)} queries, {retrieved} retrieved and {guesses} generated candidates")
    print(f"Evaluate it with `python evaluate.py --candidates {result_path} ...`.")
    return problems


def found_in_gallery(args: argparse.Namespace, geoclip_path: Path | None) -> tuple[Path | None, Path | None]:
    """I.npy and the gallery's metadata table, as far as they are there; neither for GeoCLIP's points."""
    if geoclip_path is not None:
        if args.gallery is not None:
            raise ValueError(f"--gallery: no use with {geoclip_path}: GeoCLIP's points are in no gallery")
        logger.info("%s: candidates are GeoCLIP's points: no photos and no place names", geoclip_path)
        return None, None
    index_path = optional(args.index_path, args.root_path / "I.npy", "no photos and no place names")
    if index_path is None and args.gallery is not None:
        raise ValueError(f"--gallery: no use without {args.root_path / 'I.npy'}, which says what rows of it were found")
    gallery = index_path and optional(args.gallery, Path(PUBLISHED_METADATA), "no photos and no place names")
    return index_path, gallery


def optional(path: Path | None, default: Path, absence: str) -> Path | None:
    """``path`` as it was named, else ``default`` where it exists, else None, saying what that means."""
    if path is not None or default.exists():
        return path or default
    logger.info("%s does not exist: %s", default, absence)
    return None


def default_retrieval(root: Path) -> Path:
    """The retrieval table; for the published benchmarks, where there is none, the released candidate table."""
    own = root / "retrieval.csv"
    return root / f"{root.name}.csv" if root.name in BENCHMARKS and not own.exists() else own


def default_generation(root: Path) -> Path:
    """generation.csv, or the one table that lvlm_zs_predict.py has written under its own name."""
    found = sorted(root.glob("llm_predict_results_zs_*.csv"))
    if (root / "generation.csv").exists() or not found:
        return root / "generation.csv"
    if len(found) > 1:
        raise ValueError(f"{', '.join(map(str, found))}: say with --generation_path which one")
    return found[0]


if __name__ == "__main__":
    sys.exit(main())
