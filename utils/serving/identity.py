"""The names that tell one model's rewards from another's: vLLM returns them with every reward."""

import hashlib
import os
from pathlib import Path

from utils.model.adapter_info import AdapterInfo
from utils.model.fingerprints import files_digest, model_folder, weights_hash

MERGED = ("adapter_model.safetensors", "adapter_config.json")  # what of an adapter goes into a checkpoint
# What a base model's tokenizer and chat template are stored in.
PROMPT_FILES = (
    *("tokenizer*.json", "vocab.json", "merges.txt", "added_tokens.json", "special_tokens_map.json"),
    "chat_template.*",
)


def reward_label(adapter: str | os.PathLike, info: AdapterInfo) -> str:
    """``georanker-`` and 16 hexadecimal digits: the adapter's weights and how they are merged, its photos' size limits.

    The name of the converted checkpoint's one label begins with it. The prompt is the client's, and no part of it.

    Raises ``ValueError`` for an adapter that limits candidates' photos: a server has one limit for all photos.
    """
    if info.candidate_max_pixels is not None:
        raise ValueError(
            f"{adapter} has candidate_max_pixels {info.candidate_max_pixels}, and vLLM one limit for all photos: "
            "rank with evaluate.py without --backend vllm"
        )
    merged = files_digest(Path(adapter, name) for name in MERGED)
    digest = hashlib.sha256(merged + f"{info.min_pixels} {info.max_pixels}".encode())
    return f"georanker-{digest.hexdigest()[:16]}"


def checkpoint_label(adapter: str | os.PathLike, info: AdapterInfo, base: str | os.PathLike, dtype: str) -> str:
    """``reward_label``, and 8 digits for the base model's weights, tokenizer and chat template, and for the ``dtype``.

    The dtype is the one that the checkpoint is stored in: what a server computes in it says nowhere (``probes.py``).

    A client need not have the base model: to it they say that the rewards of two runs are of one checkpoint.
    """
    folder = model_folder(base)
    prompts = files_digest(sorted(path for pattern in PROMPT_FILES for path in folder.glob(pattern)))
    digest = hashlib.sha256(prompts + f"{weights_hash(base)} {dtype}".encode())
    return f"{reward_label(adapter, info)}-{digest.hexdigest()[:8]}"
