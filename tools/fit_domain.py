"""Learn what photos an adapter was calibrated on, so that it states no confidence for others.

    python -m tools.fit_domain checkpoints/earth --image_path dataset/earth/train/images \\
        --calibration_path dataset/earth/calibration/images --words "satellite tiles of the embedded world"

writes domain.safetensors into the adapter's folder, and the words into its georanker.json. --image_path are photos of
the kind, several thousand of them; --calibration_path are others, on which the threshold is set so that 2% of such
photos are warned about. Take photos of the kind that confidence was calibrated on (`evaluate.py --calibrate`). A photo
that cannot be read is named and left out, and the exit code is 1.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from utils.cli.command import run_command
from utils.cli.flags import add_device, script_parser
from utils.data_paths import check_files
from utils.jobs.outputs import check_outputs

if TYPE_CHECKING:
    from torch import Tensor

    from utils.geo_ranker import GeoRanker

BATCH = 64  # photos


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__, "tools.fit_domain")
    add = parser.add_argument
    add("adapter", type=Path, help="folder of an adapter with georanker.json")
    add("--image_path", type=Path, nargs="+", required=True, help="folders of photos of the kind")
    add("--calibration_path", type=Path, required=True, help="folder of other photos of the kind")
    add("--words", required=True, help="what the photos are, for georanker.json and the warning")
    add("--model", help="base model; default: the one that the adapter names")
    add_device(add)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: fit(args), quiet=args.quiet)


def fit(args: argparse.Namespace) -> list[str]:
    """Write the domain and its words. Returns what is wrong with photos that could not be used."""
    files = [(None, args.adapter / "georanker.json"), ("calibration_path", args.calibration_path)]
    check_files([*files, *(("image_path", folder) for folder in args.image_path)])
    check_outputs(folders=[("adapter", args.adapter)])

    from dataclasses import replace

    import torch

    from utils.geo_ranker import GeoRanker
    from utils.model.adapter_info import DOMAIN_FILENAME, AdapterInfo
    from utils.model.device import own_device
    from utils.model.domain import Domain

    info = replace(AdapterInfo.load(args.adapter), domain=args.words)
    # Only the tower is needed, and that is the base's: the adapter need not be loaded.
    ranker = GeoRanker.from_pretrained(args.model or info.base_model, device=args.device or own_device(0))
    problems: list[str] = []
    photos = torch.cat([described(ranker, folder, info.candidate_jpeg_quality, problems) for folder in args.image_path])
    calibration = described(ranker, args.calibration_path, info.candidate_jpeg_quality, problems)
    domain = Domain.fit(photos, calibration)
    domain.save(args.adapter)
    info.save(args.adapter)
    print(f"{args.adapter / DOMAIN_FILENAME}: fitted on {len(photos)} photos, threshold from {len(calibration)} others")
    return problems


def described(ranker: "GeoRanker", folder: Path, jpeg_quality: int | None, problems: list[str]) -> "Tensor":
    """Descriptions (n, d) of the photos of ``folder`` and its subfolders as the ranker is shown a query's.

    What is wrong with photos that cannot be read is added to ``problems``.
    """
    import torch

    from utils.jobs.progress import progress_bar
    from utils.model.domain import describe_photos
    from utils.photos.formats import photo_names
    from utils.photos.images import open_image
    from utils.photos.jpeg import as_jpeg

    names = photo_names(folder)
    found = [torch.empty(0, 2 * ranker.backbone.language_model.config.hidden_size)]
    with progress_bar(total=len(names), desc=str(folder), unit="photo") as bar:
        for start in range(0, len(names), BATCH):
            photos = []
            for name in names[start : start + BATCH]:
                try:
                    photos.append(as_jpeg(open_image(folder / name), jpeg_quality))
                except ValueError as error:
                    problems.append(f"{name}: {error}")
            if photos:
                found.append(describe_photos(ranker.backbone, ranker.packer, photos))
            bar.update(len(names[start : start + BATCH]))
    return torch.cat(found)


if __name__ == "__main__":
    sys.exit(main())
