"""Where was one photo taken? Rank its candidate places, print them, and draw a map.

Edit the constants below and run `python quick_start.py`, or give the flags of the same names. As they stand,
a query of the embedded world is ranked by the shipped checkpoint, offline:

    python quick_start.py
    python quick_start.py --dataset earth --query test_000007.jpg

Your own photo, with candidate places in a CSV file (columns latitude, longitude; if you like, also
place and image, the path of a photo of the place, from the folder of the CSV file; dataset/README.md has more):

    python quick_start.py --image photo.jpg --candidates places.csv --model_path path_to_lora

Without --candidates the places are those of CANDIDATE_COORDINATES and CANDIDATE_IMAGES below. A released adapter
reads exactly the published prompt for one's own photos where the places have no names.

Your own photo, with the places of the most similar photos of a gallery (docs/own_photos.md), and if you like with
three that the base model guesses:

    python quick_start.py --image photo.jpg --index my_gallery/index --image_data_path my_gallery --generate 3 \\
        --model_path path_to_lora

Answer and ranking go into a JSON file, beside a map in a folder named by the photo unless --output says where. With
--index, --image may be a folder: its photos go into a CSV file and a GeoJSON file beside it, both written in the end
from a log that has each photo as it is done; interrupted, the same command goes on at the next photo. A place or photo
that cannot be read costs only itself: it is named, and the exit code is 1.

Coordinates that a photo carries in its EXIF are never used. A flag that has no effect beside the others is an error.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from utils.cli.command import run_command
from utils.cli.flags import (
    add_candidate_choice,
    add_device,
    add_gallery_photos,
    at_least,
    choose_base,
    probability,
    script_parser,
    set_default_paths,
)
from utils.cli.given import given_flags, refuse
from utils.data_paths import BENCHMARKS, EARTH_SPLITS, PUBLISHED_BASE, check_files
from utils.decoding import METHODS
from utils.geography.geodesy import THRESHOLDS_KM, is_valid_coordinate
from utils.jobs.outputs import check_outputs
from utils.locating.output_paths import ranking_paths, table_path

if TYPE_CHECKING:
    from utils.answer import Demand
    from utils.geo_ranker import GeoRanker
    from utils.locating.locate import Locator
    from utils.locating.ranking_task import Task

# ---- edit here, or use the flags ----
IMAGE = None  # your own photo, e.g. "photo.jpg"; None: QUERY of DATASET
CANDIDATES = None  # with IMAGE: CSV file of candidate places; else the candidate table, None: that of DATASET
# With IMAGE, instead of a CSV file: [(latitude, longitude), ...]; the published script calls it candidate_gps_lis.
CANDIDATE_COORDINATES = []
CANDIDATE_IMAGES = []  # photos of these places, in the same order, None for a place without; []: no photos
INDEX = None  # with IMAGE, instead of places: index folder of a gallery, whose photos IMAGE_DATA_PATH holds
IMAGE_DATA_PATH = None  # tar or folder of the gallery's photos; None: that of DATASET
GENERATE = 0  # with INDEX: how many places the base model guesses
LATITUDE, LONGITUDE = None, None  # with IMAGE: where it was taken (degrees), if you know; published: gt_lat, gt_lon
DATASET = "earth"  # earth, im2gps3k or yfcc4k
QUERY = "test_000437.jpg"  # IMG_ID of the candidate table
TOPN, TOPN_ZS = 12, 3  # retrieved and generated candidates of the query
MODEL = None  # base model: hub name or folder; None: the adapter's, else that of DATASET, the published one for IMAGE
MODEL_PATH = None  # adapter folder; None: that of DATASET
MIN_CONFIDENCE, WITHIN_KM = None, 200  # say "not sure" of an answer less likely (0 to 1) to lie within so many km
OUTPUT = None  # JSON file of the ranking; None: outputs/PHOTO/ranking.json, PHOTO being the photo's name
MAP = None  # PNG file; None: map.png beside that, or beside an OUTPUT that is given, with its name
LOCATIONS = None  # CSV file for a folder of photos, the GeoJSON file beside it; None: outputs/FOLDER/locations.csv

# As they were before anybody edited them: what is edited counts as given, and what is given is used or is an error.
UNEDITED = {"dataset": "earth", "query": "test_000437.jpg", "topn": 12, "topn_zs": 3, "within": 200}
UNEDITED |= {"image_data_path": None, "latitude": None, "longitude": None}
# What says nothing of one's own photo, and what says nothing of it where its places are listed.
OF_A_QUERY = ("dataset", "split", "query", "image_path", "topn_zs")
OF_A_GALLERY = ("topn", "merge_km", "image_data_path", "tar_index_path")
BENCHMARK_PATHS = ("candidates", "image_path", "image_data_path", "tar_index_path")
OWN_PATHS = ("image", "candidates", "index", "image_data_path", "tar_index_path")

logger = logging.getLogger("scripts")


# ---- flags ----


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__)
    add = parser.add_argument
    # Your own photo
    add("--image", default=IMAGE, help="photo to rank places for; with --index also a folder of photos")
    add("--candidates", default=CANDIDATES, help="CSV file of places, or a benchmark's candidate table")
    add("--latitude", type=float, default=LATITUDE, help="where --image was taken, if known (degrees)")
    add("--longitude", type=float, default=LONGITUDE)
    add("--index", default=INDEX, help="index folder of the gallery that the places of --image come from")
    add("--generate", type=at_least(0), default=GENERATE, help="with --index: places that the base model guesses")
    # A query of a benchmark
    add("--dataset", choices=BENCHMARKS, default=DATASET, help="benchmark that --query belongs to")
    add("--split", choices=EARTH_SPLITS, default="test", help="of --dataset earth")
    add("--query", default=QUERY, help="IMG_ID in the candidate table")
    add("--image_path", help="folder of the query photos")
    add_gallery_photos(add, default=IMAGE_DATA_PATH, help="tar or folder of the gallery photos, also for --index")
    add_candidate_choice(add, topn=TOPN, topn_zs=TOPN_ZS)
    # Ranker
    add("--model", default=MODEL, help="base model: hub name or folder")
    add("--model_path", default=MODEL_PATH, help="adapter folder")
    add(
        "--decode",
        choices=list(METHODS),
        default="argmax",
        help="see utils/decoding.py; fused: with retrieval's similarities",
    )
    add_device(add)
    # Answer
    add("--min_confidence", type=probability, default=MIN_CONFIDENCE, help="less sure answers are `not sure` (0 to 1)")
    add("--within", type=int, choices=THRESHOLDS_KM, default=WITHIN_KM, help="of so many km (%(default)s)")
    # Results
    add("--output", default=OUTPUT, help="JSON file of the ranking; default: outputs/PHOTO/ranking.json")
    add("--map", default=MAP, help="PNG file of the map; default: beside the ranking")
    add(
        "--locations",
        default=LOCATIONS,
        help="CSV file for a folder of photos, with a GeoJSON file beside it; default: outputs/FOLDER/locations.csv",
    )
    args = parser.parse_args(arguments)
    if args.locations is not None and Path(args.locations).suffix != ".csv":
        parser.error(f"--locations is {args.locations}: its name ends in .csv, that of the GeoJSON file in .geojson")
    given = given_flags(parser, arguments, args)
    check_use(args, parser, given | {name for name, value in UNEDITED.items() if getattr(args, name) != value})
    if args.index is None and args.generate:
        parser.error("--generate needs --index; of a benchmark's query, --topn_zs are taken from its table")
    if args.index is not None:
        check_index(args, parser)
    if args.image is not None:
        check_own_photo(args, parser)
        choose_base(args, parser, PUBLISHED_BASE)
        return args
    args.own_table = args.candidates is not None
    set_default_paths(args, parser)
    if args.model_path is None:
        parser.error(f"--dataset {args.dataset} needs --model_path, the folder of an adapter")
    return args


def check_use(args: argparse.Namespace, parser: argparse.ArgumentParser, given: set[str]) -> None:
    """Refuse what has no effect on what is asked for."""
    if args.min_confidence is None:
        refuse(parser, given, ("within",), "without --min_confidence")
    check_constants(args, parser)
    if args.image is None:
        refuse(parser, given, ("latitude", "longitude"), "without --image: of --query the table knows where it is")
        refuse(parser, given, ("locations",), "without a folder as --image")
        if args.dataset != "earth":
            refuse(parser, given, ("split",), f"with --dataset {args.dataset}, which has no splits")
        return
    refuse(parser, given, OF_A_QUERY, "with --image (or IMAGE edited in): they are of a query of a benchmark")
    if args.index is None:
        refuse(parser, given, OF_A_GALLERY, "with places of one's own for --image: all of them are ranked")
    if Path(args.image).is_dir():
        refuse(parser, given, ("output", "map"), "with a folder as --image: see --locations")
    else:
        refuse(parser, given, ("locations",), "with one photo as --image: see --output and --map")


def check_constants(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse places edited into this file that would not be ranked."""
    other = "--image" if args.image is None else "--candidates" if args.candidates is not None else "--index"
    if CANDIDATE_COORDINATES and (args.image is None or args.candidates is not None or args.index is not None):
        parser.error(f"CANDIDATE_COORDINATES: no use {'without' if args.image is None else 'with'} {other}")
    if CANDIDATE_IMAGES and not CANDIDATE_COORDINATES:
        parser.error("CANDIDATE_IMAGES: no use without CANDIDATE_COORDINATES")


def check_index(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    if args.image is None or args.candidates is not None:
        parser.error("--index finds the places of an --image: without --image or with --candidates it has no use")
    if args.image_data_path is None:
        parser.error("--index needs --image_data_path, the photos of its gallery")
    if args.topn + args.generate < 1:
        parser.error("--topn and --generate leave no place to rank")
    if Path(args.image).is_dir() and args.latitude is not None:
        parser.error("--latitude and --longitude are those of one photo, not of a folder")


def check_own_photo(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
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


# ---- the work ----


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: rank(args), quiet=args.quiet)


def rank(args: argparse.Namespace) -> list[str]:
    """Rank one photo or a folder of photos; returns what could not be used."""
    files = [(name, getattr(args, name)) for name in (BENCHMARK_PATHS if args.image is None else OWN_PATHS)]
    check_files([*files, ("model_path", Path(args.model_path, "adapter_config.json"))])
    choose_outputs(args)

    from utils.answer import Demand
    from utils.geo_ranker import GeoRanker

    demand = None if args.min_confidence is None else Demand(args.min_confidence, args.within)
    if args.index is None:  # before the model is loaded, since a table can be wrong
        task = benchmark_query(args) if args.image is None else listed_photo(args)
    ranker = GeoRanker.from_pretrained(args.model, args.model_path, device=args.device)
    if args.index is not None:
        locator = load_locator(args, ranker)
        if Path(args.image).is_dir():
            return locate_folder(args, ranker, locator, demand)
        task = locator.task(Path(args.image), args.latitude, args.longitude)
        locator.log_unusable()
    return rank_photo(args, ranker, task, demand)


def choose_outputs(args: argparse.Namespace) -> None:
    """Fill in where the results go, and see that they can be written."""
    if args.image is not None and Path(args.image).is_dir():
        table = args.locations = Path(args.locations or table_path(args.image))
        log = table.with_name(f"{table.name}.jsonl")
        check_outputs([("--locations", path) for path in (table, table.with_suffix(".geojson"), log)])
        return
    args.output, args.map = ranking_paths(args.image or args.query, args.output, args.map)
    check_outputs([("--output", args.output), ("--map", args.map)])


def benchmark_query(args: argparse.Namespace) -> "Task":
    """A query of a benchmark, with those of its candidate table."""
    from utils.locating.ranking_task import benchmark_task

    names = (*BENCHMARK_PATHS, "topn", "topn_zs", "merge_km")
    # Nobody knows the gallery of a table that somebody brings.
    gallery = None if args.own_table else BENCHMARKS[args.dataset].gallery_metadata
    return benchmark_task(args.query, **{name: getattr(args, name) for name in names}, gallery_metadata=gallery)


def listed_photo(args: argparse.Namespace) -> "Task":
    """One's own photo, with the places of a CSV file or of the constants above."""
    from utils.locating.ranking_task import listed_task
    from utils.tables.places import parse_places, read_places

    edited = CANDIDATE_COORDINATES, CANDIDATE_IMAGES
    places = parse_places(*edited) if args.candidates is None else read_places(args.candidates)
    return listed_task(args.image, *places, args.latitude, args.longitude)


def load_locator(args: argparse.Namespace, ranker: "GeoRanker") -> "Locator":
    """What finds places for one's own photos: similar ones in a gallery, and guesses of the base model."""
    from utils.locating.locate import Locator
    from utils.photos.store import ImageStore

    images = ImageStore.from_paths([args.image_data_path], args.tar_index_path)
    picking = {"topn": args.topn, "topn_zs": args.generate, "merge_km": args.merge_km}
    return Locator.load(ranker, Path(args.index), images, args.model if args.generate else None, **picking)


def rank_photo(args: argparse.Namespace, ranker: "GeoRanker", task: "Task", demand: "Demand | None") -> list[str]:
    """Rank, print, and write the ranking and its map."""
    from utils.locating.folder import GPS_NOTE
    from utils.locating.listing import format_outcome
    from utils.locating.ranking_task import rank_task
    from utils.locating.results import write_results

    outcome = rank_task(ranker, task, args.decode, demand)
    if outcome.answer.answered is None:
        raise ValueError("--min_confidence: nothing is known of how sure an answer for such a photo is; leave it out")
    if task.has_gps:
        logger.info(GPS_NOTE.format(args.image))
    print(format_outcome(outcome, task.truth))
    about = {"photo": args.image or args.query, "decode": args.decode, "ranker": str(args.model_path)}
    write_results(task, outcome, about, args.output, args.map)
    print(f"Ranking: {args.output}\nMap: {args.map}")
    return task.problems


def locate_folder(
    args: argparse.Namespace, ranker: "GeoRanker", locator: "Locator", demand: "Demand | None"
) -> list[str]:
    """Locate every photo of a folder, into a table and a map."""
    from utils.locating.folder import identities, rank_folder

    table, flags = args.locations, ("topn", "generate", "merge_km", "decode", "min_confidence", "within")
    settings = identities(ranker, locator, args.index, args.model, args.model_path)
    settings |= {name: getattr(args, name) for name in flags}
    rows = rank_folder(ranker, locator, Path(args.image), table, args.decode, settings, demand)
    locator.log_unusable()
    located = sum(row.latitude is not None for row in rows)
    print(f"{table}: {located} of {len(rows)} photos have a place\nMap: {table.with_suffix('.geojson')}")
    return [f"{row.file}: {row.problem}" for row in rows if row.problem]


if __name__ == "__main__":
    sys.exit(main())
