"""Where was one photo taken? Rank its candidate places, print them, and draw a map.

Edit the constants below and run `python quick_start.py`, or give the flags of the same names. As they stand,
a query of the embedded world is ranked by the shipped checkpoint, offline:

    python quick_start.py
    python quick_start.py --dataset earth --query test_000007.jpg

Your own photo, with candidate places in a CSV file (columns latitude, longitude; if you like, also
place and image, the path of a photo of the place, from the folder of the CSV file):

    python quick_start.py --image photo.jpg --candidates places.csv --model_path path_to_lora

Without --candidates the places are those of CANDIDATE_COORDINATES and CANDIDATE_IMAGES below. A released adapter
reads exactly the published prompt for one's own photos where the places have no names.

The ranking goes into a JSON file, best first. A place that cannot be read costs only itself: it is named, and
the exit code is 1.
"""

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from utils.benchmarks import BENCHMARKS, PUBLISHED_BASE, check_files, set_default_paths
from utils.candidates import Candidate, Query
from utils.command import run_command
from utils.decoding import decode
from utils.files import atomic_path
from utils.geo_ranker import GeoRanker, RankedCandidate
from utils.geodesy import geodesic_km, parse_coordinate
from utils.images import open_image
from utils.maps import ranking_map, save
from utils.task import Task, benchmark_task, place_names, readable_candidates

# ---- edit here, or use the flags ----
IMAGE = None  # your own photo, e.g. "photo.jpg"; None: QUERY of DATASET
CANDIDATES = None  # with IMAGE: CSV file of candidate places; else the candidate table, None: that of DATASET
CANDIDATE_COORDINATES = []  # with IMAGE, instead of a CSV file: [(latitude, longitude), ...]
CANDIDATE_IMAGES = []  # photos of these places, in the same order, None for a place without; []: no photos
LATITUDE, LONGITUDE = None, None  # with IMAGE: where it was taken (degrees), if you know
DATASET = "earth"  # earth, im2gps3k or yfcc4k
QUERY = "test_000073.jpg"  # IMG_ID of the candidate table
TOPN, TOPN_ZS = 12, 3  # retrieved and generated candidates of the query
MODEL = None  # base model: hub name or folder; None: that of DATASET, the published one for IMAGE
MODEL_PATH = None  # adapter folder; None: that of DATASET
OUTPUT = "outputs/ranking.json"
MAP = "outputs/map.png"

BENCHMARK_PATHS = ("candidates", "image_path", "image_data_path", "tar_index_path", "model_path")


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    # Your own photo
    add("--image", default=IMAGE, help="photo to rank places for")
    add("--candidates", default=CANDIDATES, help="CSV file of places, or a benchmark's candidate table")
    add("--latitude", type=float, default=LATITUDE, help="where --image was taken, if known (degrees)")
    add("--longitude", type=float, default=LONGITUDE)
    # A query of a benchmark
    add("--dataset", choices=BENCHMARKS, default=DATASET, help="benchmark that --query belongs to")
    add("--split", choices=("val", "test"), default="test", help="of --dataset earth")
    add("--query", default=QUERY, help="IMG_ID in the candidate table")
    add("--image_path", help="folder of the query photos")
    add("--image_data_path", help="tar or folder of the gallery photos")
    add("--tar_index_path", help="index of the tar; default: tar_index.pkl beside it")
    add("--topn", type=int, default=TOPN, help="retrieved candidates")
    add("--topn_zs", type=int, default=TOPN_ZS, help="generated candidates")
    # Ranker
    add("--model", default=MODEL, help="base model: hub name or folder")
    add("--model_path", default=MODEL_PATH, help="adapter folder")
    add("--decode", choices=("argmax", "consensus"), default="argmax", help="see utils/decoding.py")
    add("--device", help="default: cuda where there is one, else cpu")
    # Results
    add("--output", default=OUTPUT, help="JSON file of the ranking")
    add("--map", default=MAP, help="PNG file of the map")
    args = parser.parse_args(arguments)

    if args.image is not None:
        if args.candidates is None and not CANDIDATE_COORDINATES:
            parser.error("--image needs --candidates, a CSV file of places (or CANDIDATE_COORDINATES in this file)")
        if args.model_path is None:
            parser.error("--image needs --model_path, the folder of an adapter")
        if (args.latitude is None) != (args.longitude is None):
            parser.error("--latitude and --longitude belong together")
        args.model = args.model or PUBLISHED_BASE
        return args
    set_default_paths(args)
    if args.model_path is None:
        parser.error(f"--dataset {args.dataset} needs --model_path, the folder of an adapter")
    return args


def read_places(path: str) -> tuple[list[Candidate], list[str]]:
    """Candidates of a CSV file of places, and a message for each row that is left out."""
    candidates, problems = [], []
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, restval="")
        missing = {"latitude", "longitude"} - set(reader.fieldnames or ())
        if missing:
            raise ValueError(f"{path}: no column {', '.join(sorted(missing))}")
        for number, cells in enumerate(reader):
            try:
                point = parse_coordinate((float(cells["latitude"]), float(cells["longitude"])))
            except ValueError as error:
                problems.append(f"{path}: row {number}: {error}; place left out")
                continue
            place, image = cells.get("place"), cells.get("image")
            candidates.append(
                Candidate(
                    *point,
                    texts=(place,) if place else (),
                    image=str(Path(path).parent / image) if image else None,
                    source="csv",
                )
            )
    return candidates, problems


def listed_places() -> tuple[list[Candidate], list[str]]:
    """Candidates of the constants above, and a message for each that is left out."""
    images = CANDIDATE_IMAGES or [None] * len(CANDIDATE_COORDINATES)
    if len(images) != len(CANDIDATE_COORDINATES):
        raise ValueError(f"{len(CANDIDATE_COORDINATES)} CANDIDATE_COORDINATES, but {len(images)} CANDIDATE_IMAGES")
    candidates, problems = [], []
    for number, (point, image) in enumerate(zip(CANDIDATE_COORDINATES, images, strict=True)):
        try:
            candidates.append(Candidate(*parse_coordinate(point), image=image, source="list"))
        except ValueError as error:
            problems.append(f"CANDIDATE_COORDINATES[{number}]: {error}; place left out")
    return candidates, problems


def own_photo(args: argparse.Namespace) -> Task:
    candidates, problems = read_places(args.candidates) if args.candidates is not None else listed_places()
    query = Query(args.image, tuple(candidates), latitude=args.latitude, longitude=args.longitude)
    return Task(open_image(args.image), query, None, problems)


def benchmark_query(args: argparse.Namespace) -> Task:
    names = ("candidates", "image_path", "image_data_path", "tar_index_path", "topn", "topn_zs")
    return benchmark_task(args.query, **{name: getattr(args, name) for name in names})


def print_ranking(ranking: Sequence[RankedCandidate], names: Sequence[str], distances: Sequence[float] | None) -> None:
    """One line a candidate, best first; with the distance to the truth in km where it is known."""
    truth = f"{'to truth':>13}" if distances is not None else ""
    print(f"{'':>4}{'latitude':>12}{'longitude':>12}{'reward':>10}{'probability':>13}{truth}  place")
    for number, (ranked, name) in enumerate(zip(ranking, names, strict=True), start=1):
        candidate = ranked.candidate
        truth = f"{distances[number - 1]:>10,.1f} km" if distances is not None else ""
        print(
            f"{number:>4}{candidate.latitude:>12.5f}{candidate.longitude:>12.5f}{ranked.reward:>10.3f}"
            f"{100 * ranked.probability:>12.1f}%{truth}  {name} ({candidate.source})"
        )


def write_ranking(path: str, ranking: Sequence[RankedCandidate], names: Sequence[str]) -> None:
    """A JSON list, best first."""
    records = [
        {
            "latitude": ranked.candidate.latitude,
            "longitude": ranked.candidate.longitude,
            "reward": ranked.reward,
            "probability": ranked.probability,
            "place": name,
            "image": ranked.candidate.image,
            "source": ranked.candidate.source,
        }
        for ranked, name in zip(ranking, names, strict=True)
    ]
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(records, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def rank(args: argparse.Namespace) -> list[str]:
    """Rank, print, and write the files; returns what could not be used."""
    names = ("image", "candidates", "model_path") if args.image is not None else BENCHMARK_PATHS
    check_files((name, getattr(args, name)) for name in names)
    task = own_photo(args) if args.image is not None else benchmark_query(args)
    candidates = readable_candidates(task)
    ranker = GeoRanker.from_pretrained(args.model, args.model_path, device=args.device)
    ranking = ranker.rank(task.photo, candidates, task.query.negatives, images=task.gallery)
    points = [(ranked.candidate.latitude, ranked.candidate.longitude) for ranked in ranking]
    rewards = [ranked.reward for ranked in ranking]
    answer = decode(points, rewards, temperature=ranker.info.temperature, method=args.decode)
    truth = None if task.query.latitude is None else (task.query.latitude, task.query.longitude)
    distances = None if truth is None else [float(geodesic_km(*truth, *point)) for point in points]
    places = place_names([ranked.candidate for ranked in ranking])

    print_ranking(ranking, places, distances)
    print(f"\nPrediction: {answer.latitude:.5f}, {answer.longitude:.5f}: {places[answer.index]}")
    print(
        "Confidence: "
        + ", ".join(f"{100 * mass:.0f}% within {radius} km" for radius, mass in answer.confidence.items())
    )
    if distances is not None:
        print(f"Truth: {truth[0]:.5f}, {truth[1]:.5f}, {distances[answer.index]:,.1f} km from the prediction")
    write_ranking(args.output, ranking, places)
    probabilities = [ranked.probability for ranked in ranking]
    save(
        ranking_map(points, probabilities, answer.index, truth=truth, photo=task.photo, labels=places),
        args.map,
    )
    print(f"Ranking: {args.output}\nMap: {args.map}")
    return task.problems


def main() -> int:
    args = parse_arguments()
    return run_command(lambda: rank(args))


if __name__ == "__main__":
    sys.exit(main())
