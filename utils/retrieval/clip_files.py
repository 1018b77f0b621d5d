"""The CLIP that GeoCLIP needs, of a folder or the hub: found without a network where it is there, else downloaded.

The hub's client (2.4) begins a file anew when a process was stopped in the middle of it. So its weights are fetched
with what the client has for parts of files, into the place where it keeps whole ones; the rest it does itself. Nothing
here imports torch.
"""

import hashlib
import logging
import os
from pathlib import Path

from utils.jobs.locks import making
from utils.jobs.reading import one_line

logger = logging.getLogger(__name__)

CLIP = "openai/clip-vit-large-patch14"  # the backbone that GeoCLIP was trained on
WEIGHTS = "model.safetensors"
FILES = ("config.json", "preprocessor_config.json", WEIGHTS)
SIZES = {CLIP: "1.7 GB"}  # of FILES


def local_clip(name: str, revision: str | None = None) -> Path | None:
    """The folder of a CLIP that is on this machine: ``name`` itself, or its copy in the hub's cache; else None."""
    if Path(name).is_dir():
        return Path(name)
    if _is_path(name):
        return None
    from huggingface_hub import try_to_load_from_cache  # half a second of imports, for hub names only

    found = [try_to_load_from_cache(name, file, revision=revision) for file in FILES]
    return Path(found[0]).parent if all(isinstance(path, str) for path in found) else None


def _is_path(name: str) -> bool:
    """Whether ``name`` can be no name on the hub."""
    return Path(name).is_absolute() or name.startswith(".") or name.count("/") > 1


def fetched_clip(name: str, revision: str | None = None) -> Path:
    """The folder of a CLIP, downloaded where it is not on this machine yet; an interrupted download goes on.

    It is told before how much that is. Raises ``FileNotFoundError``, with size and command, where it fails.
    """
    folder = local_clip(name, revision)
    if folder is not None:
        return folder
    if _is_path(name):
        raise FileNotFoundError(f"{name} does not exist: the folder of a CLIP checkpoint, such as {CLIP}")
    try:
        return _download(name, revision)
    except Exception as error:  # those of its HTTP client have nothing in common
        command = " ".join(["hf download", name, *FILES, *([f"--revision {revision}"] if revision else [])])
        size = f" ({SIZES[name]})" if name in SIZES else ""
        raise FileNotFoundError(
            f"GeoCLIP needs CLIP {name}{size}, which is not on this machine and could not be downloaded "
            f"({one_line(error)}): `{command}` fetches it where there is a network, --clip takes its folder"
        ) from error


def _download(name: str, revision: str | None) -> Path:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, snapshot_download
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.file_download import repo_folder_name

    wanted = {"revision": revision, "allow_patterns": list(FILES)}
    planned = snapshot_download(name, dry_run=True, **wanted)
    url = hf_hub_url(name, WEIGHTS, revision=planned[0].commit_hash)
    about = get_hf_file_metadata(url)
    blob = Path(HF_HUB_CACHE, repo_folder_name(repo_id=name, repo_type="model"), "blobs", about.etag)
    part = blob.with_name(f"{blob.name}.incomplete")
    there = part.stat().st_size if part.exists() else 0
    size = sum(file.file_size or 0 for file in planned if file.will_download)
    so_far = f", {there / 1e9:.2f} GB of it are there" if there else ""
    logger.warning("GeoCLIP needs CLIP: downloading %s, %.2f GB%s, once, to %s", name, size / 1e9, so_far, HF_HUB_CACHE)
    with making(blob):
        if not blob.exists():  # no other process has fetched it meanwhile
            _fetch(url, part, about.size, about.etag)
            os.replace(part, blob)
    return Path(snapshot_download(name, **wanted))


def _fetch(url: str, part: Path, size: int | None, sha256: str) -> None:
    """Download what ``part`` lacks of a file of ``size`` bytes; one that then has another hash is removed."""
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    headers = build_hf_headers() | {"Accept-Encoding": "identity"}
    with open(part, "ab") as stream:
        http_get(
            url, stream, resume_size=stream.tell(), headers=headers, expected_size=size, displayed_filename=WEIGHTS
        )
    with open(part, "rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256:
        part.unlink()
        raise ValueError(f"{WEIGHTS} arrived with hash {found}, not {sha256}")
