"""Where GeoCLIP's files lie: weights and points, in its package or a release of its hub, and which CLIP it takes.

Nothing here imports torch or uses the network.
"""

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.jobs.reading import check_kinds, naming, read_json_object
from utils.retrieval.clip_files import CLIP, local_clip

# Its requirements would bring torchvision and an older client of the hub.
INSTALL = "pip install --no-deps geoclip"
CONFIG, MODEL_TYPE, VERSION = "config.json", "geoclip-geolocation", 1
PACKAGE_WEIGHTS = {  # a release has all tensors in one file, whose names begin so
    "location_encoder.": "location_encoder_weights.pth",
    "image_encoder.mlp.": "image_encoder_mlp_weights.pth",
}


@dataclass(frozen=True)
class Release:
    """The files of one GeoCLIP."""

    points: Path  # CSV with LAT, LON in degrees
    weights: Mapping[str, Path]  # files of tensors, by what to put before the names in them
    clip: str  # hub name of its backbone
    revision: str | None = None  # of the backbone
    sigma: tuple[float, ...] | None = None  # of the location encoder; None: its own default

    @classmethod
    def of(cls, source: str | os.PathLike | None = None) -> "Release":
        """Those of the installed package, or of the folder ``source``, a hub release.

        Raises ``FileNotFoundError`` where the folder lacks a file, and ``ValueError`` where the package is missing,
        or naming file and setting, where ``config.json`` is damaged.
        """
        package = package_folder()
        if package is None:
            raise ValueError(f"GeoCLIP needs the package geoclip: {INSTALL}")
        if source is not None:
            return cls._of_folder(Path(source))
        weights = {prefix: package / "model" / "weights" / name for prefix, name in PACKAGE_WEIGHTS.items()}
        return cls(package / "model" / "gps_gallery" / "coordinates_100K.csv", weights, CLIP)

    @classmethod
    def _of_folder(cls, folder: Path) -> "Release":
        _check_there(folder, CONFIG)
        config = read_json_object(folder / CONFIG)
        with naming(folder / CONFIG):
            clip, revision = _checked(config)
            sigma = tuple(map(float, config["sigma"]))
        points, weights = config["gallery_file"], "model.safetensors"
        _check_there(folder, points)
        _check_there(folder, weights)
        return cls(folder / points, {"": folder / weights}, clip, revision, sigma)


def _check_there(folder: Path, name: str) -> None:
    if not (folder / name).is_file():
        raise FileNotFoundError(f"{folder} is no release of GeoCLIP: it has no {name}")


def _checked(config: dict[str, Any]) -> tuple[str, str | None]:
    """Hub name and revision of the backbone; ``ValueError``, naming the setting, unless ``config`` is a release's."""
    kinds = {"model_type": str, "format_version": int, "gallery_file": str, "sigma": list, "backbone": dict}
    if missing := kinds.keys() - config.keys():
        raise ValueError(f"{', '.join(sorted(missing))} is missing")
    check_kinds(config, kinds)
    if (config["model_type"], config["format_version"]) != (MODEL_TYPE, VERSION):
        raise ValueError(
            f"model_type {config['model_type']!r}, format_version {config['format_version']}: "
            f"a release of GeoCLIP has {MODEL_TYPE!r} and {VERSION}"
        )
    name = config["gallery_file"]
    if Path(name).name != name or not name.endswith(".csv"):
        raise ValueError(f"gallery_file is {name!r}: it must be a CSV file of the folder")
    for scale in config["sigma"]:
        check_kinds({"sigma": scale}, {"sigma": int | float})
    backbone = {"repo_id": None, "revision": None} | config["backbone"]
    check_kinds(backbone, {"repo_id": str, "revision": str | None})
    return backbone["repo_id"], backbone["revision"]


def package_folder() -> Path | None:
    """Where the package geoclip is installed; None where it is not. It is not imported."""
    found = importlib.util.find_spec("geoclip")
    # Any folder of that name in the working directory would be found, without an origin.
    return Path(found.origin).parent if found is not None and found.origin is not None else None


def is_available(source: str | os.PathLike | None = None, clip: str | os.PathLike | None = None) -> bool:
    """Whether GeoCLIP can embed photos here and now: nothing to install, nothing to download.

    ``source`` and ``clip`` as in ``GeoClip.from_pretrained``. Raises ``ValueError`` for a damaged ``config.json``.
    """
    if package_folder() is None or (source is not None and not Path(source, CONFIG).is_file()):
        return False
    return local_clip(*chosen_clip(Release.of(source), clip)) is not None


def chosen_clip(release: Release, clip: str | os.PathLike | None = None) -> tuple[str, str | None]:
    """Folder or hub name of the CLIP to use, and its revision: that of the release, or ``clip`` instead."""
    return (release.clip, release.revision) if clip is None else (str(clip), None)
