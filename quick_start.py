"""Where was one photo taken? Find candidate places, decide, print them, and draw a map.

Edit the constants below and run `python quick_start.py`, or give the flags of the same names. As they stand,
a query of the embedded world is ranked by the shipped checkpoint, offline:

    python quick_start.py
    python quick_start.py --dataset earth --query test_000007.jpg

Your own photo, with the best that this machine has (docs/own_photos.md says what that may be):

    python quick_start.py --image photo.jpg

or with what you choose. Candidates come from any of these, together if you like:

    --retriever geoclip                     GeoCLIP's points
    --index DIR --image_data_path PHOTOS    the most similar photos of a gallery
    --generate 3                            guesses of --model on this machine, by default the base of the adapter
    --generate 3 --model_name NAME          guesses of a model behind an OpenAI-compatible server at --base_url, which
                                            gets the photo without its EXIF; the key is the environment's OPENAI_API_KEY
    --candidates places.csv                 a list of your own (columns latitude, longitude; if you like, also place
                                            and image, the path of a photo of the place, from the folder of the file;
                                            dataset/README.md has more), or CANDIDATE_COORDINATES below

and a GeoRanker decides (--model_path, an adapter), or without one a vote of the candidates (--ranker consensus). A
released adapter reads exactly the published prompt for one's own photos where the places have no names.

Answer and ranking go into a JSON file, beside a map in a folder named by the photo unless --output says where. --report
makes an HTML page of it, too, with a map to zoom and the candidates' own photos, which needs no other file or network.

--image may be a folder: its photos go into a CSV file and a GeoJSON file beside it, both written in the end from a log
that has each photo as it is done; interrupted, the same command goes on at the next photo. A place or photo that cannot
be read costs only itself: it is named, and the exit code is 1.

Coordinates that a photo carries in its EXIF are never used. A flag that has no effect beside the others is an error.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from utils.answer import Demand, NothingKnown
from utils.cli.command import run_command
from utils.cli.flags import (
    add_candidate_choice,
    add_device,
    add_gallery_photos,
    add_quantize,
    check_candidate_choice,
    check_quantize,
    choose_base,
    script_parser,
    set_default_paths,
)
from utils.cli.given import given_flags, refuse
from utils.cli.locating import (
    CHOICES,
    add_demand,
    add_sources,
    add_who_decides,
    check_demand,
    check_models,
    check_sources,
)
from utils.data_paths import BENCHMARKS, EARTH_SPLITS, PUBLISHED_BASE, check_files
from utils.decoding import WITHOUT_RANKER
from utils.geography.geodesy import is_valid_coordinate
from utils.jobs.outputs import check_outputs
from utils.locating.output_paths import ranking_paths, report_path, table_path
from utils.photos.formats import is_writable, list_photos

if TYPE_CHECKING:
    from PIL import Image

    from utils.answer import Answer
    from utils.locator import Locator

# ---- edit here, or use the flags ----
IMAGE = None  # your own photo, e.g. "photo.jpg"; None: QUERY of DATASET
CANDIDATES = None  # with IMAGE: CSV file of candidate places; else the candidate table, None: that of DATASET
# With IMAGE, instead of a CSV file: [(latitude, longitude), ...]; the published script calls it candidate_gps_lis.
CANDIDATE_COORDINATES = []
CANDIDATE_IMAGES = []  # photos of these places, in the same order, None for a place without; []: no photos
INDEX = None  # with IMAGE: index folder of a gallery, whose photos IMAGE_DATA_PATH holds
IMAGE_DATA_PATH = None  # tar, zip or folder of the gallery's photos; None: that of DATASET
RETRIEVER = None  # with IMAGE: "geoclip" for GeoCLIP's points
GENERATE = 0  # with IMAGE: how many places a model guesses, MODEL or one behind a server:
MODEL_NAME, BASE_URL = None, None  # its name there, and the server's address; the key is OPENAI_API_KEY's
LATITUDE, LONGITUDE = None, None  # with IMAGE: where it was taken (degrees), if you know; published: gt_lat, gt_lon
DATASET = "earth"  # earth, im2gps3k or yfcc4k
QUERY = "test_000437.jpg"  # IMG_ID of the candidate table
TOPN, TOPN_ZS = 12, 3  # retrieved and generated candidates of the query
MODEL = None  # base model: hub name or folder; None: the adapter's, else that of DATASET, the published one for IMAGE
MODEL_PATH = None  # adapter folder; None: that of DATASET, with IMAGE the candidates vote
MIN_CONFIDENCE, WITHIN_KM = None, 200  # say "not sure" of an answer less likely (0 to 1) to lie within so many km
OUTPUT = None  # JSON file of the ranking; None: outputs/PHOTO/ranking.json, PHOTO being the photo's name
MAP = None  # PNG file; None: map.png beside that, or beside an OUTPUT that is given, with its name
REPORT = None  # HTML page of the results; "": report.html beside them, or with their name; None: no page
LOCATIONS = None  # CSV file for a folder of photos, the GeoJSON file beside it; None: outputs/FOLDER/locations.csv

# As they were before anybody edited them: what is edited counts as given, and what is given is used or is an error.
UNEDITED = {"dataset": "earth", "query": "test_000437.jpg", "topn": 12, "topn_zs": 3, "within": 200}
UNEDITED |= {"image_data_path": None, "latitude": None, "longitude": None}
# What says nothing of one's own photo.
OF_A_QUERY = ("dataset", "split", "query", "image_path", "topn_zs")
# What says nothing of a query of a benchmark, whose candidates its table has.
OF_A_PHOTO = ("index", "retriever", "geoclip", "clip", "generate", "model_name", "base_url", "exclude_same_id")
BENCHMARK_PATHS = ("candidates", "image_path", "image_data_path", "tar_index_path")
OWN_PATHS = ("image", "candidates", "index", "image_data_path", "tar_index_path", "geoclip")


# ---- flags ----


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__)
    add = parser.add_argument_group("your own photo").add_argument
    add("--image", default=IMAGE, help="photo to find the place of, or a folder of photos")
    defaults = {"candidates": CANDIDATES, "index": INDEX, "retriever": RETRIEVER, "generate": GENERATE}
    defaults |= {"model_name": MODEL_NAME, "base_url": BASE_URL, "model_path": MODEL_PATH, "model": MODEL}
    add_sources(add, defaults, "CSV file of places; of --query the benchmark's candidate table")
    add("--exclude_same_id", action="store_true", help="but for the gallery's photo of the same name")
    add("--latitude", type=float, default=LATITUDE, help="where --image was taken, if known (degrees)")
    add("--longitude", type=float, default=LONGITUDE)
    add = parser.add_argument_group("a query of a benchmark").add_argument
    add("--dataset", choices=BENCHMARKS, default=DATASET, help="benchmark that --query belongs to")
    add("--split", choices=EARTH_SPLITS, default="test", help="of --dataset earth")
    add("--query", default=QUERY, help="IMG_ID in the candidate table")
    add("--image_path", help="folder of the query photos")
    add = parser.add_argument_group("both").add_argument
    add_gallery_photos(add, default=IMAGE_DATA_PATH, help="tar, zip or folder of the gallery photos, also for --index")
    add_candidate_choice(add, topn=TOPN, topn_zs=TOPN_ZS)
    add = parser.add_argument_group("who decides").add_argument
    add_who_decides(add, defaults)
    add_quantize(add)
    add_device(add)
    add = parser.add_argument_group("answer and results").add_argument
    add_demand(add, MIN_CONFIDENCE, WITHIN_KM)
    add("--output", default=OUTPUT, help="JSON file of the ranking; default: outputs/PHOTO/ranking.json")
    add("--map", default=MAP, help="PNG file of the map; default: beside the ranking")
    add(
        "--report",
        nargs="?",
        const="",
        default=REPORT,
        metavar="FILE",
        help="also one HTML page of the results; default: report.html beside them",
    )
    add(
        "--locations",
        default=LOCATIONS,
        help="CSV file for a folder of photos, with a GeoJSON file beside it; default: outputs/FOLDER/locations.csv",
    )
    args = parser.parse_args(arguments)
    if args.locations is not None and Path(args.locations).suffix != ".csv":
        parser.error(f"--locations is {args.locations}: its name ends in .csv, that of the GeoJSON file in .geojson")
    if args.report and Path(args.report).suffix not in (".html", ".htm"):
        parser.error(f"--report is {args.report}: its name ends in .html")
    given = given_flags(parser, arguments, args)
    given |= {name for name, value in UNEDITED.items() if getattr(args, name) != value}
    args.chosen = any(getattr(args, name) for name in CHOICES) or bool(CANDIDATE_COORDINATES)
    check_use(args, parser, given)
    try:
        check_quantize(args)
    except ValueError as error:
        parser.error(str(error))
    if args.image is not None:
        check_own_photo(args, parser, given)
        args.merge_km = args.merge_km if "merge_km" in given else None
        if args.model_path is not None:
            choose_base(args, parser, PUBLISHED_BASE)
        return args
    args.own_table = args.candidates is not None
    set_default_paths(args, parser)
    if args.model_path is None and args.ranker not in WITHOUT_RANKER:
        parser.error(f"--dataset {args.dataset} needs --model_path, the folder of an adapter, or --ranker consensus")
    return args


def check_use(args: argparse.Namespace, parser: argparse.ArgumentParser, given: set[str]) -> None:
    """Refuse what has no effect on what is asked for."""
    check_demand(args, parser, given)
    if args.image is not None:
        return
    check_candidate_choice(args, parser)
    if args.ranker in WITHOUT_RANKER:
        refuse(parser, given, ("model", "quantize"), f"with --ranker {args.ranker}: no model is loaded")
    refuse(parser, given, ("latitude", "longitude"), "without --image: of --query the table knows where it is")
    refuse(parser, given, ("locations",), "without a folder as --image")
    found = [name for name in OF_A_PHOTO if getattr(args, name)]
    refuse(parser, found, OF_A_PHOTO, "without --image: of --query the table has the candidates")
    if CANDIDATE_COORDINATES:
        parser.error("CANDIDATE_COORDINATES: no use without --image")
    if args.dataset != "earth":
        refuse(parser, given, ("split",), f"with --dataset {args.dataset}, which has no splits")


def check_own_photo(args: argparse.Namespace, parser: argparse.ArgumentParser, given: set[str]) -> None:
    """Refuse what has no effect on one's own photo, and what is not enough to find its place."""
    check_image(args, parser)
    refuse(parser, given, OF_A_QUERY, "with --image (or IMAGE edited in): they are of a query of a benchmark")
    check_sources(args, parser, given, listed=bool(CANDIDATE_COORDINATES))
    check_models(args, parser, given)
    check_places(args, parser)
    if os.path.isdir(args.image):  # unlike Path's, false where it cannot be seen, which is told later
        refuse(parser, given, ("output", "map"), "with a folder as --image: see --locations")
        refuse(parser, given, ("latitude", "longitude"), "with a folder as --image: they are those of one photo")
    else:
        refuse(parser, given, ("locations",), "with one photo as --image: see --output and --map")
    if (args.latitude is None) != (args.longitude is None):
        parser.error("--latitude and --longitude belong together")
    if args.latitude is not None and not is_valid_coordinate(args.latitude, args.longitude):
        parser.error(f"--latitude {args.latitude} --longitude {args.longitude} is no coordinate")


def check_image(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse what cannot be the path of a photo, or of a folder, or could not be written into the results."""
    if not args.image:  # of which Python's paths would make the working directory
        parser.error("--image is empty")
    if "://" in args.image:
        parser.error(f"--image {args.image}: it takes files of this machine; download the photo first")
    if not is_writable(args.image):
        parser.error(f"--image {args.image!a}: the name is not UTF-8, rename it")


def check_places(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """The same of a list of places."""
    if args.candidates is not None and CANDIDATE_COORDINATES:
        parser.error("CANDIDATE_COORDINATES: no use with --candidates")
    if CANDIDATE_IMAGES and not CANDIDATE_COORDINATES:
        parser.error("CANDIDATE_IMAGES: no use without CANDIDATE_COORDINATES")


# ---- the work ----


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: locate(args), RuntimeError, quiet=args.quiet)


def locate(args: argparse.Namespace) -> list[str]:
    """Find the place of one photo or of a folder of photos; returns what could not be used."""
    files = [(name, getattr(args, name)) for name in (BENCHMARK_PATHS if args.image is None else OWN_PATHS)]
    check_files([*files, ("model_path", args.model_path and Path(args.model_path, "adapter_config.json"))])
    choose_outputs(args)
    try:
        return locate_query(args) if args.image is None else locate_own(args)
    except NothingKnown as error:
        remedy = "`python evaluate.py --calibrate` on validation queries with the same candidates makes it known"
        raise ValueError(f"--min_confidence: {error}; {remedy}") from None


def choose_outputs(args: argparse.Namespace) -> None:
    """Fill in where the results go, and see that they can be written."""
    if args.image is not None and Path(args.image).is_dir():
        table = args.locations = Path(args.locations or table_path(args.image))
        log = table.with_name(f"{table.name}.jsonl")
        args.report = report_path(args.report, table)
        files = [("--locations", path) for path in (table, table.with_suffix(".geojson"), log)]
    else:
        args.output, args.map = ranking_paths(args.image or args.query, args.output, args.map)
        args.report = report_path(args.report, args.output)
        files = [("--output", args.output), ("--map", args.map)]
    check_outputs([*files, ("--report", args.report)])


def locate_query(args: argparse.Namespace) -> list[str]:
    """A query of a benchmark, with the candidates of its table."""
    from utils.locating.judging import Judge
    from utils.locating.task import benchmark_task

    names = (*BENCHMARK_PATHS, "topn", "topn_zs", "merge_km")
    # Nobody knows the gallery of a table that somebody brings.
    known = None if args.own_table else BENCHMARKS[args.dataset]
    flags = {name: getattr(args, name) for name in names}
    # Before a model is loaded, since a table can be wrong.
    task = benchmark_task(args.query, **flags, gallery_metadata=known and known.gallery_metadata)
    vote = args.ranker if args.ranker in WITHOUT_RANKER else None
    how = {"vote": vote, "vote_calibration": known and known.vote_calibration, "decode": args.decode}
    how |= {"demand": Demand.of(args.min_confidence, args.within), "quantize": args.quantize, "device": args.device}
    judge = Judge.load(args.model, args.model_path, **how)
    (answer,) = judge.answers([task])
    if isinstance(answer, ValueError):
        raise answer
    return show(args, answer, task.photo.image, task.truth)


def locate_own(args: argparse.Namespace) -> list[str]:
    """A photo of one's own, or a folder of them."""
    is_folder = Path(args.image).is_dir()
    if is_folder:
        list_photos(Path(args.image))  # raises where there is none, before anything is loaded
    return (locate_folder if is_folder else locate_photo)(args, own_locator(args))


def own_locator(args: argparse.Namespace) -> "Locator":
    """What locates photos of one's own: as the flags say, else with the best that this machine has."""
    from utils.locating.automatic import choose
    from utils.locating.choices import Choices
    from utils.locating.sources import ListedPlaces
    from utils.locator import Locator

    demand, judge = Demand.of(args.min_confidence, args.within), None
    if args.chosen:
        places = ListedPlaces.read(args.candidates, CANDIDATE_COORDINATES, CANDIDATE_IMAGES)
        choices = Choices.of(vars(args) | {"places": places, "demand": demand})
    else:
        choices, judge = choose(args.image, args.model_name, args.base_url, demand, args.device)
    choices.check_demand()
    locator = Locator.load(choices, args.device, judge)
    locator.check_demand()
    return locator


def locate_photo(args: argparse.Namespace, locator: "Locator") -> list[str]:
    """One photo of one's own."""
    from utils.locating.photo import Photo

    photo = Photo.open(args.image)
    truth = None if args.latitude is None else (args.latitude, args.longitude)
    return show(args, locator.locate(photo), photo.image, truth)


def show(
    args: argparse.Namespace, answer: "Answer", photo: "Image.Image", truth: tuple[float, float] | None
) -> list[str]:
    """Print the answer, and write its ranking, its map and its page."""
    from utils.locating.folder import log_notes
    from utils.locating.listing import format_outcome
    from utils.page.entry import Located
    from utils.page.results import write_all

    if answer.answered is None:
        raise ValueError("--min_confidence: nothing is known of how sure an answer for such a photo is; leave it out")
    asked = args.image or args.query
    log_notes(asked, answer)
    print(format_outcome(answer, truth))
    print("\n".join(write_all(Located(asked, answer, photo, truth), args.output, args.map, args.report)))
    return list(answer.problems)


def locate_folder(args: argparse.Namespace, locator: "Locator") -> list[str]:
    """Every photo of a folder, into a table, a map and a page."""
    from utils.page.folder import locate_with_page

    table = args.locations
    rows = locate_with_page(locator, Path(args.image), table, args.report)
    located = sum(row.latitude is not None for row in rows)
    print(f"{table}: {located} of {len(rows)} photos have a place\nMap: {table.with_suffix('.geojson')}")
    if args.report is not None:
        print(f"Report: {args.report}")
    return [f"{row.file}: {row.problem}" for row in rows if row.problem]


if __name__ == "__main__":
    sys.exit(main())
