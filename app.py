"""A local web app: drop a photo on a page, see where it was taken. Programs get the same as JSON.

    python app.py

and open the address that it prints. Nothing is downloaded, and no photo leaves this machine, that nobody asked for.
Without further flags a photo is located by the best that this machine has: a tile of the embedded world by the shipped
GeoRanker, another photo by GeoCLIP where its encoder is there, and by --model_name behind a server. Or choose, with the
flags of quick_start.py (docs/own_photos.md says what each needs):

    python app.py --retriever geoclip
    python app.py --index DIR --image_data_path PHOTOS --generate 3 --model_path published/checkpoints

One photo is located at a time, the others wait. The app listens on this machine alone unless --host says otherwise, and
keeps no photo unless --keep does. Needs the extra `web`: pip install -e '.[web]'. See docs/web.md.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from utils.answer import Demand
from utils.cli.command import run_command
from utils.cli.flags import (
    add_device,
    add_gallery_photos,
    add_quantize,
    at_least,
    check_quantize,
    choose_base,
    script_parser,
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
from utils.data_paths import PUBLISHED_BASE, check_files
from utils.jobs.outputs import check_outputs
from utils.jobs.packages import check_package
from utils.web.hosts import LOCAL

if TYPE_CHECKING:
    from utils.web.finder import Finder

logger = logging.getLogger(__name__)

PATHS = ("candidates", "index", "image_data_path", "tar_index_path", "geoclip")
PACKAGES = ("fastapi", "uvicorn", "python-multipart")


# ---- flags ----


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__)
    add = parser.add_argument_group("the app").add_argument
    add("--host", default="127.0.0.1", help="address to listen at (%(default)s: this machine alone)")
    add("--port", type=port, default=8000, help="(%(default)s; 0: any free one)")
    add("--max_queue", type=at_least(1), default=16, help="photos that may wait (%(default)s)")
    add("--max_upload_mb", type=at_least(1), default=32, help="of a photo's file (%(default)s)")
    add("--max_megapixels", type=at_least(1), default=100, help="of a photo (%(default)s; 268 at most)")
    add("--keep", metavar="DIR", help="write every photo and its ranking into this folder; default: nothing is kept")
    add = parser.add_argument_group("where candidates come from").add_argument
    add_sources(add, {}, "CSV file of places")
    add_gallery_photos(add, help="tar or folder of the photos of --index")
    add("--topn", type=at_least(0), default=12, help="candidates of --index and of --retriever, each (%(default)s)")
    add(
        "--merge_km",
        type=at_least(0, float),
        help="drop candidates so near a better one, take further ones; default: 1 of GeoCLIP's, else 0",
    )
    add = parser.add_argument_group("who decides").add_argument
    add_who_decides(add, {})
    add_quantize(add)
    add_device(add)
    add = parser.add_argument_group("answers, where the page says nothing else").add_argument
    add_demand(add)
    args = parser.parse_args(arguments)
    given = given_flags(parser, arguments, args)
    args.chosen = any(getattr(args, name) for name in CHOICES)
    check_demand(args, parser, given)
    check_sources(args, parser, given)
    if not args.chosen:
        refuse(parser, given, ("topn", "merge_km"), "where nothing says where candidates come from")
    check_models(args, parser, given)
    try:
        check_quantize(args)
    except ValueError as error:
        parser.error(str(error))
    if args.model_path is not None:
        choose_base(args, parser, PUBLISHED_BASE)
    return args


def port(text: str) -> int:
    """The type of ``--port``."""
    value = int(text)
    if not 0 <= value < 2**16:
        raise argparse.ArgumentTypeError(f"{text}: a port is at most 65535")
    return value


# ---- the work ----


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: run(args), RuntimeError, quiet=args.quiet)


def run(args: argparse.Namespace) -> list[str]:
    """Load what locates photos, and serve until Ctrl-C."""
    files = [(name, getattr(args, name)) for name in PATHS]
    check_files([*files, ("model_path", args.model_path and Path(args.model_path, "adapter_config.json"))])
    check_outputs(folders=[("--keep", args.keep)])
    for package in PACKAGES:
        check_package("app.py", package, "web")
    if args.host not in LOCAL:
        risk = (
            "neither encryption nor a password: anyone who reaches it can upload photos, and the network can read them"
        )
        logger.warning("--host %s: %s", args.host, risk)

    from utils.photos.images import MAX_PIXELS
    from utils.web.server import Server, listen

    listening = listen(args.host, args.port)  # before anything is loaded, since another program may have the port
    with listening:
        limits = {"max_queue": args.max_queue, "max_upload_bytes": args.max_upload_mb * 2**20}
        limits["max_pixels"] = min(args.max_megapixels * 10**6, MAX_PIXELS)
        Server.of(load(args), listening, args.host, **limits, keep=args.keep).work()
    return []


def load(args: argparse.Namespace) -> "Finder":
    """What the flags say, else the best that this machine has."""
    from utils.locating.choices import Choices
    from utils.locating.sources import ListedPlaces
    from utils.web.finder import Finder

    demand = Demand.of(args.min_confidence, args.within)
    if not args.chosen:
        return Finder.automatic(args.model_name, args.base_url, demand, args.device)
    places = ListedPlaces.read(args.candidates)
    return Finder.chosen(Choices.of(vars(args) | {"places": places, "demand": demand}), args.device)


if __name__ == "__main__":
    sys.exit(main())
