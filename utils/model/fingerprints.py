"""What results depend on, as text that can be compared: weights, settings, and how photos are prepared."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from utils.model.adapter_info import DOMAIN_FILENAME, FILENAME, AdapterInfo

WEIGHT_FILES = ("config.json", "*processor_config.json", "*.safetensors")  # what an embedding depends on


def model_folder(base: str | os.PathLike) -> Path:
    """The folder of a checkpoint: ``base`` itself, or the local copy of a hub repository.

    Raises ``ValueError``, naming it, where it is neither, or the hub cannot be reached.
    """
    if Path(base).is_dir():
        return Path(base)
    from huggingface_hub import snapshot_download  # half a second of imports, for hub names only
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(snapshot_download(str(base), allow_patterns=["*.json", "*.txt", "*.jinja", "*.safetensors"]))
    except (OSError, HFValidationError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"model {base}: it is no folder here, and the hub did not give it: {reason}") from error


def weights_hash(base: str | os.PathLike) -> str:
    """SHA-256 of the weights, model configuration and image preprocessing of a checkpoint, or of a ``.pth`` file."""
    if Path(base).suffix == ".pth":
        return files_digest([Path(base)]).hex()
    folder = model_folder(base)
    return files_digest(sorted(path for pattern in WEIGHT_FILES for path in folder.glob(pattern))).hex()


def files_digest(paths: Iterable[Path]) -> bytes:
    """SHA-256 of the names and contents of files, in this order."""
    whole = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            whole.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return whole.digest()


def digest(text: str) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def settings_hash(adapter: str | os.PathLike) -> str:
    """SHA-256 of what an adapter has beside its weights: settings, calibration and domain, as far as it has them."""
    paths = [path for name in (FILENAME, DOMAIN_FILENAME) if (path := Path(adapter) / name).is_file()]
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def fingerprint(base: str, adapter: str | os.PathLike, info: AdapterInfo, settings: Mapping[str, Any]) -> str:
    """What scores: the weights of base and adapter (files by size and time), the prompt, and ``settings``.

    Calibration and domain do not change rewards and leave the fingerprint as it is. A base on the hub is its name.
    """
    trained = asdict(info)
    del trained["temperature"], trained["similarity_weight"], trained["calibration"], trained["domain"]
    for setting in ("candidate_jpeg_quality", "candidate_max_pixels"):
        if trained[setting] is None:  # logs from before there was the setting stay valid
            del trained[setting]
    files = [
        (path.name, path.stat().st_size, path.stat().st_mtime_ns)
        for folder in (Path(base), Path(adapter))
        for path in sorted(folder.glob("*"))
        if path.is_file() and path.name not in (FILENAME, DOMAIN_FILENAME)
    ]
    return json.dumps([base, str(adapter), trained, dict(settings), files], sort_keys=True, default=str)
