"""Where GeoCLIP's files lie: weights and points, in its package or a folder of its hub release, and its CLIP.

Nothing here imports torch, and only ``fetched_clip`` uses the network.
"""

import importlib.util
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.jobs.reading import check_kinds, naming, one_line, read_json_object

logger = logging.getLogger(__name__)

# Its requirements would bring torchvision and an older client of the hub.
INSTALL = "pip install --no-deps geoclip"
CLIP = "openai/clip-vit-large-patch14"  # the backbone that GeoCLIP was trained on
CLIP_FILES = ("config.json", "preprocessor_config.json", "model.safetensors")
SIZES = {CLIP: "1.7 GB"}  # of CLIP_FILES
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
        points, weights = config["gallery_file"], "model.safetensors"
        _check_there(folder, points)
        _check_there(folder, weights)
        return cls(folder / points, {"": folder / weights}, clip, revision, tuple(config["sigma"]))


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


def local_clip(name: str, revision: str | None = None) -> Path | None:
    """The folder of a CLIP that is on this machine: ``name`` itself, or its copy in the hub's cache; else None."""
    if Path(name).is_dir():
        return Path(name)
    if Path(name).is_absolute() or name.startswith("."):
        raise FileNotFoundError(f"{name} does not exist: the folder of a CLIP checkpoint, such as {CLIP}")
    from huggingface_hub import try_to_load_from_cache  # half a second of imports, for hub names only

    found = [try_to_load_from_cache(name, file, revision=revision) for file in CLIP_FILES]
    return Path(found[0]).parent if all(isinstance(path, str) for path in found) else None


def fetched_clip(name: str, revision: str | None = None) -> Path:
    """The folder of a CLIP, downloaded where it is not on this machine yet; an interrupted download goes on.

    It is told before how much that is. Raises ``FileNotFoundError``, with size and command, where it fails.
    """
    folder = local_clip(name, revision)
    if folder is not None:
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.constants import HF_HUB_CACHE

    wanted = {"revision": revision, "allow_patterns": list(CLIP_FILES)}
    try:
        planned = snapshot_download(name, dry_run=True, **wanted)
        size = sum(file.file_size or 0 for file in planned if file.will_download) / 1e9
        logger.warning("GeoCLIP needs CLIP: downloading %s, %.2f GB, once, to %s", name, size, HF_HUB_CACHE)
        return Path(snapshot_download(name, **wanted))
    except Exception as error:  # those of its HTTP client have nothing in common
        command = " ".join(["hf download", name, *CLIP_FILES, *([f"--revision {revision}"] if revision else [])])
        known = f" ({SIZES[name]})" if name in SIZES else ""
        raise FileNotFoundError(
            f"GeoCLIP needs CLIP {name}{known}, which is not on this machine and could not be downloaded "
            f"({one_line(error)}): `{command}` fetches it where there is a network, --clip takes its folder"
        ) from error
