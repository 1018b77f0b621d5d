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

Your own photo, with the places of the most similar photos of a gallery (docs/own_photos.md), and if you like with
three that the base model guesses:

    python quick_start.py --image photo.jpg --index my_gallery/index --image_data_path my_gallery --generate 3 \\
        --model_path path_to_lora

The ranking goes into a JSON file, best first. With --index, --image may be a folder: its photos go into a CSV file
and a GeoJSON file beside it, both written in the end from a log that has each photo as it is done; interrupted, the
same command goes on at the next photo. A place or photo that cannot be read costs only itself: it is named, and the
exit code is 1.

Coordinates that a photo carries in its EXIF are never used.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from tqdm import tqdm

from utils.candidates import Candidate, Query
from utils.cli.command import run_command
from utils.cli.flags import choose_base, set_default_paths
from utils.data_paths import BENCHMARKS, PUBLISHED_BASE, check_files
from utils.decoding import METHODS
from utils.figures.ranking_map import ranking_map
from utils.figures.style import save
from utils.geo_ranker import GeoRanker, RankedCandidate
from utils.geography.geodesy import geodesic_km, is_valid_coordinate, parse_coordinate
from utils.locating.locate import Locator
from utils.locating.locations import CONFIDENCE_KM, Location, locate_photos
from utils.locating.ranking_task import Task, benchmark_task, rank_task, write_ranking
from utils.model.fingerprints import digest, fingerprint
from utils.photos.exif import has_gps
from utils.photos.images import ImageError, open_image
from utils.photos.store import ImageStore
from utils.tables.places import read_places

# ---- edit here, or use the flags ----
IMAGE = None  # your own photo, e.g. "photo.jpg"; None: QUERY of DATASET
CANDIDATES = None  # with IMAGE: CSV file of candidate places; else the candidate table, None: that of DATASET
CANDIDATE_COORDINATES = []  # with IMAGE, instead of a CSV file: [(latitude, longitude), ...]
CANDIDATE_IMAGES = []  # photos of these places, in the same order, None for a place without; []: no photos
INDEX = None  # with IMAGE, instead of places: index folder of a gallery, whose photos IMAGE_DATA_PATH holds
IMAGE_DATA_PATH = None  # tar or folder of the gallery's photos; None: that of DATASET
GENERATE = 0  # with INDEX: how many places the base model guesses
LATITUDE, LONGITUDE = None, None  # with IMAGE: where it was taken (degrees), if you know
DATASET = "earth"  # earth, im2gps3k or yfcc4k
QUERY = "test_000437.jpg"  # IMG_ID of the candidate table
TOPN, TOPN_ZS = 12, 3  # retrieved and generated candidates of the query
MODEL = None  # base model: hub name or folder; None: the adapter's, else that of DATASET, the published one for IMAGE
MODEL_PATH = None  # adapter folder; None: that of DATASET
OUTPUT = "outputs/ranking.json"
MAP = "outputs/map.png"
LOCATIONS = "outputs/locations.csv"  # of a folder of photos; the GeoJSON file lies beside it

GPS_NOTE = "{} has GPS coordinates in its EXIF; they are not used"
BENCHMARK_PATHS = ("candidates", "image_path", "image_data_path", "tar_index_path", "model_path")


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    # Your own photo
    add("--image", default=IMAGE, help="photo to rank places for; with --index also a folder of photos")
    add("--candidates", default=CANDIDATES, help="CSV file of places, or a benchmark's candidate table")
    add("--latitude", type=float, default=LATITUDE, help="where --image was taken, if known (degrees)")
    add("--longitude", type=float, default=LONGITUDE)
    add("--index", default=INDEX, help="index folder of the gallery that the places of --image come from")
    add("--generate", type=int, default=GENERATE, help="with --index: places that the base model guesses")
    # A query of a benchmark
    add("--dataset", choices=BENCHMARKS, default=DATASET, help="benchmark that --query belongs to")
    add("--split", choices=("val", "test"), default="test", help="of --dataset earth")
    add("--query", default=QUERY, help="IMG_ID in the candidate table")
    add("--image_path", help="folder of the query photos")
    add("--image_data_path", default=IMAGE_DATA_PATH, help="tar or folder of the gallery photos, also for --index")
    add("--tar_index_path", help="index of the tar, or released pickle; default: beside it")
    add("--topn", type=int, default=TOPN, help="retrieved candidates")
    add("--topn_zs", type=int, default=TOPN_ZS, help="generated candidates")
    add("--merge_km", type=float, default=0, help="drop candidates so near a better one, take further ones; 0: off")
    # Ranker
    add("--model", default=MODEL, help="base model: hub name or folder")
    add("--model_path", default=MODEL_PATH, help="adapter folder")
    add(
        "--decode",
        choices=METHODS,
        default="argmax",
        help="see utils/decoding.py; fused: with retrieval's similarities",
    )
    add("--device", help="default: cuda where there is one, else cpu")
    # Results
    add("--output", default=OUTPUT, help="JSON file of the ranking")
    add("--map", default=MAP, help="PNG file of the map")
    add("--locations", default=LOCATIONS, help="CSV file for a folder of photos, with a GeoJSON file beside it")
    args = parser.parse_args(arguments)

    for name in ("topn", "topn_zs", "merge_km", "generate"):
        if not getattr(args, name) >= 0:
            parser.error(f"--{name} is {getattr(args, name)}: it is at least 0")
    if Path(args.locations).suffix != ".csv":
        parser.error(f"--locations is {args.locations}: its name ends in .csv, that of the GeoJSON file in .geojson")
    if args.index is None and args.generate:
        parser.error("--generate needs --index; of a benchmark's query, --topn_zs are taken from its table")
    if args.index is not None:
        if args.image is None or args.candidates is not None:
            parser.error("--index finds the places of an --image: without --image or with --candidates it has no use")
        if args.image_data_path is None:
            parser.error("--index needs --image_data_path, the photos of its gallery")
        if args.topn + args.generate < 1:
            parser.error("--topn and --generate leave no place to rank")
        if Path(args.image).is_dir() and args.latitude is not None:
            parser.error("--latitude and --longitude are those of one photo, not of a folder")
    if args.image is not None:
        if args.index is None and Path(args.image).is_dir():
            parser.error("a folder as --image needs --index, the gallery that the places come from")
        if args.candidates is None and not CANDIDATE_COORDINATES and args.index is None:
            parser.error("--image needs --candidates, a CSV file of places (or CANDIDATE_COORDINATES here), or --index")
        if args.model_path is None:
            parser.error("--image needs --model_path, the folder of an adapter")
        if (args.latitude is None) != (args.longitude is None):
            parser.error("--latitude and --longitude belong together")
        if args.latitude is not None and not is_valid_coordinate(args.latitude, args.longitude):
            parser.error(f"--latitude {args.latitude} --longitude {args.longitude} is no coordinate")
        choose_base(args, parser, PUBLISHED_BASE)
        return args
    if args.latitude is not None or args.longitude is not None:
        parser.error("--latitude and --longitude are those of an --image: of --query the table knows where it is")
    set_default_paths(args, parser)
    if args.model_path is None:
        parser.error(f"--dataset {args.dataset} needs --model_path, the folder of an adapter")
    return args


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
    return Task(open_image(args.image), query, None, problems, has_gps(Path(args.image)))


def benchmark_query(args: argparse.Namespace) -> Task:
    names = ("candidates", "image_path", "image_data_path", "tar_index_path", "topn", "topn_zs", "merge_km")
    return benchmark_task(args.query, **{name: getattr(args, name) for name in names})


def load_locator(args: argparse.Namespace, ranker: GeoRanker) -> Locator:
    return Locator.load(
        ranker,
        Path(args.index),
        ImageStore.from_paths([args.image_data_path], args.tar_index_path),
        args.model if args.generate else None,
        topn=args.topn,
        topn_zs=args.generate,
        merge_km=args.merge_km,
    )


def print_unusable(args: argparse.Namespace, locator: Locator) -> None:
    if args.generate:
        print(f"Guesses that name no usable place, dropped: {locator.unusable}")


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


def rank(args: argparse.Namespace) -> list[str]:
    """Rank, print, and write the files; returns what could not be used."""
    names = BENCHMARK_PATHS if args.image is None else ("image", "candidates", "index", "image_data_path", "model_path")
    check_files((name, getattr(args, name)) for name in names)
    if args.index is not None:
        ranker = GeoRanker.from_pretrained(args.model, args.model_path, device=args.device)
        locator = load_locator(args, ranker)
        if Path(args.image).is_dir():
            return rank_folder(args, ranker, locator)
        task = locator.task(Path(args.image))
        task = replace(task, query=replace(task.query, latitude=args.latitude, longitude=args.longitude))
        print_unusable(args, locator)
    else:
        task = own_photo(args) if args.image is not None else benchmark_query(args)
        ranker = GeoRanker.from_pretrained(args.model, args.model_path, device=args.device)
    rank_photo(args, ranker, task)
    return task.problems


def rank_photo(args: argparse.Namespace, ranker: GeoRanker, task: Task) -> None:
    outcome = rank_task(ranker, task, args.decode)
    answer, points = outcome.answer, outcome.points
    truth = None if task.query.latitude is None else (task.query.latitude, task.query.longitude)
    distances = None if truth is None else [float(geodesic_km(*truth, *point)) for point in points]

    if task.has_gps:
        print(GPS_NOTE.format(args.image))
    print_ranking(outcome.ranking, outcome.names, distances)
    print(f"\nPrediction: {answer.latitude:.5f}, {answer.longitude:.5f}: {outcome.names[answer.index]}")
    print(
        "Confidence: "
        + ", ".join(f"{100 * mass:.0f}% within {radius} km" for radius, mass in answer.confidence.items())
    )
    if distances is not None:
        print(f"Truth: {truth[0]:.5f}, {truth[1]:.5f}, {distances[answer.index]:,.1f} km from the prediction")
    write_ranking(args.output, outcome)
    probabilities = [ranked.probability for ranked in outcome.ranking]
    save(
        ranking_map(points, probabilities, answer.index, truth=truth, photo=task.photo, labels=outcome.names),
        args.map,
    )
    print(f"Ranking: {args.output}\nMap: {args.map}")


def rank_folder(args: argparse.Namespace, ranker: GeoRanker, locator: Locator) -> list[str]:
    folder, table = Path(args.image), Path(args.locations)

    def locate(name: str) -> Location:
        try:
            task = locator.task(folder / name)
            if task.has_gps:
                tqdm.write(GPS_NOTE.format(name))
            outcome = rank_task(ranker, task, args.decode)
        except torch.OutOfMemoryError:
            raise ImageError("does not fit into memory") from None
        answer = outcome.answer
        place, confidence = outcome.names[answer.index], round(answer.confidence[CONFIDENCE_KM], 4)
        return Location(name, answer.latitude, answer.longitude, place, confidence, "; ".join(task.problems))

    scorer = digest(fingerprint(args.model, args.model_path, ranker.info, {}))[:16]
    settings = {"index": str(Path(args.index).resolve()), "gallery": locator.gallery.digest[:16], "ranker": scorer}
    settings |= {"temperature": ranker.info.temperature, "similarity_weight": ranker.info.similarity_weight}
    settings |= {name: getattr(args, name) for name in ("topn", "generate", "merge_km", "decode")}
    rows = locate_photos(folder, table, locate, settings)
    print_unusable(args, locator)
    located = sum(row.latitude is not None for row in rows)
    print(f"{table}: {located} of {len(rows)} photos have a place\nMap: {table.with_suffix('.geojson')}")
    return [f"{row.file}: {row.problem}" for row in rows if row.problem]


def main() -> int:
    args = parse_arguments()
    return run_command(lambda: rank(args))


if __name__ == "__main__":
    sys.exit(main())
