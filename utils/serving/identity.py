"""The name that tells one adapter's rewards from another's: vLLM returns it with every reward."""

import hashlib
import os
from pathlib import Path

from utils.model.adapter_info import AdapterInfo

WEIGHTS = "adapter_model.safetensors"


def reward_label(adapter: str | os.PathLike, info: AdapterInfo) -> str:
    """``georanker-`` and 16 hexadecimal digits: the adapter's weights and the size limits of its photos.

    The converted checkpoint has it as the name of its one label. The prompt is the client's, and no part of it.

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
