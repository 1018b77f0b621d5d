"""The names that tell one model's rewards from another's: vLLM returns them with every reward."""

import hashlib
import os
from pathlib import Path

from utils.model.adapter_info import AdapterInfo
from utils.model.fingerprints import weights_hash

WEIGHTS = "adapter_model.safetensors"


def reward_label(adapter: str | os.PathLike, info: AdapterInfo) -> str:
    """``georanker-`` and 16 hexadecimal digits: the adapter's weights and the size limits of its photos.

    The name of the converted checkpoint's one label begins with it. The prompt is the client's, and no part of it.

    Raises ``ValueError`` for an adapter that limits candidates' photos: a server has one limit for all photos.
    """
    if info.candidate_max_pixels is not None:
        raise ValueError(
            f"{adapter} has candidate_max_pixels {info.candidate_max_pixels}, and vLLM one limit for all photos: "
            "rank with evaluate.py without --backend vllm"
        )
    with open(Path(adapter, WEIGHTS), "rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    digest.update(f"{info.min_pixels} {info.max_pixels}".encode())
    return f"georanker-{digest.hexdigest()[:16]}"


def checkpoint_label(adapter: str | os.PathLike, info: AdapterInfo, base: str | os.PathLike, dtype: str) -> str:
    """``reward_label``, and 8 digits for the base model's files and the ``dtype`` that the checkpoint is stored in.

    A client need not have the base model: to it they say that the rewards of two runs are of one checkpoint.
    """
    digest = hashlib.sha256(f"{weights_hash(base)} {dtype}".encode())
    return f"{reward_label(adapter, info)}-{digest.hexdigest()[:8]}"
