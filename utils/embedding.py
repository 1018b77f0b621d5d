"""The embeddings of many photos: decoded in worker processes, embedded in batches, kept in shards.

A photo that cannot be read has a row of NaN, so that row numbers stay those of the metadata table. A gallery is
embedded shard by shard: an interrupted run goes on at the first shard that is not on disk, and several processes
(``torchrun``) take every n-th shard each. The finished embeddings are one file, mapped into memory.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from huggingface_hub import snapshot_download
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm
from transformers import AutoConfig, BaseImageProcessor

from utils.encoders import ClipEncoder, Encoder, TowerEncoder, concatenate, preprocess
from utils.files import atomic_path
from utils.g3 import G3Encoder
from utils.images import ImageError, ImageStore
from utils.scoring import Processes

QWEN_VL = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
CLIP_LIKE = ("clip", "metaclip_2", "siglip", "siglip2")
WEIGHT_FILES = ("config.json", "*processor_config.json", "*.safetensors")  # what an embedding depends on
SHARD = 16_384  # photos embedded between two saves


def load_encoder(
    model: str | os.PathLike, dtype: str | torch.dtype = "auto", device: str | torch.device = "cpu"
) -> Encoder:
    """The encoder that ``model`` is: G3's ``.pth`` file, or the folder or hub name of a checkpoint.

    ``dtype`` "auto" is that of the weights. Raises ``ValueError`` when ``model`` is of no known type or incomplete.
    """
    if Path(model).suffix == ".pth":
        return G3Encoder.from_pretrained(model, dtype, device)
    model_type = AutoConfig.from_pretrained(model).model_type
    if model_type in QWEN_VL:
        return TowerEncoder.from_pretrained(model, dtype, device)
    if model_type in CLIP_LIKE:
        return ClipEncoder.from_pretrained(model, dtype, device)
    raise ValueError(
        f"{model} is a checkpoint of type {model_type}: photos are embedded with {', '.join(QWEN_VL + CLIP_LIKE)}, "
        "or G3's .pth file"
    )


def compute_dtype(dtype: str, device: str | torch.device) -> str:
    """What an encoder computes in: on a GPU "auto" is bfloat16, elsewhere that of the weights."""
    return "bfloat16" if dtype == "auto" and torch.device(device).type != "cpu" else dtype


# ---- photos ----


@dataclass
class _Batch:
    """What a worker makes of some photos."""

    rows: list[int]  # row numbers of the readable ones
    inputs: dict[str, Tensor]  # of all readable ones together; empty where there are none
    problems: list[str]


class _Photos(Dataset):
    def __init__(self, image_ids: Sequence[str], store: ImageStore, processor: BaseImageProcessor) -> None:
        self.image_ids, self.store, self.processor = image_ids, store, processor

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getitem__(self, row: int) -> tuple[int, dict[str, Tensor]] | str:
        image_id = self.image_ids[row]
        try:
            return row, preprocess(self.processor, self.store.open(image_id))
        except ImageError as error:
            return str(error)
        except ValueError as error:  # a shape that the processor refuses
            return f"{image_id}: {error}"

    @staticmethod
    def collate(items: list[tuple[int, dict[str, Tensor]] | str]) -> tuple[list[int], dict[str, Tensor], list[str]]:
        photos = [item for item in items if not isinstance(item, str)]
        # One tensor a batch: tensors travel between processes as open files, of which there are few.
        inputs = concatenate([inputs for _, inputs in photos]) if photos else {}
        return [row for row, _ in photos], inputs, [item for item in items if isinstance(item, str)]


def _embedded_batches(
    encoder: Encoder,
    image_ids: Sequence[str],
    store: ImageStore,
    batches: Sequence[Sequence[int]],
    workers: int,
    progress: tqdm,
) -> Iterator[tuple[list[int], np.ndarray, list[str]]]:
    """For each of ``batches`` (row numbers): the rows that were readable, their embeddings, and problems.

    Workers decode the batches to come, and a thread pins them for the GPU, while the encoder is at work.
    """
    photos = _Photos(image_ids, store, encoder.image_processor)
    loader = DataLoader(
        photos,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=photos.collate,
        pin_memory=torch.cuda.is_available(),
    )
    for rows, inputs, problems in loader:
        yield rows, encoder.embed(inputs) if rows else np.empty((0, encoder.dimension), np.float32), problems
        progress.update(len(rows) + len(problems))


def _split(rows: range, size: int) -> list[range]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def embed_photos(
    encoder: Encoder,
    image_ids: Sequence[str],
    store: ImageStore,
    batch_size: int = 32,
    workers: int = 0,
    label: str = "embedding",
) -> tuple[np.ndarray, list[str]]:
    """Embed the photos ``image_ids`` of ``store``; ``workers`` processes decode them.

    Returns:
        (n, dimension) float32, a row of NaN for a photo that could not be read, and a message for each of
        those.
    """
    embeddings = np.full((len(image_ids), encoder.dimension), np.nan, dtype=np.float32)
    problems = []
    batches = _split(range(len(image_ids)), batch_size)
    with tqdm(total=len(image_ids), desc=label, unit="photo") as progress:
        for rows, embedded, found in _embedded_batches(encoder, image_ids, store, batches, workers, progress):
            embeddings[rows] = embedded
            problems += found
    return embeddings, problems


# ---- what embeddings were made of ----


def model_folder(base: str | os.PathLike) -> Path:
    """The folder of a checkpoint: ``base`` itself, or the local copy of a hub repository."""
    if Path(base).is_dir():
        return Path(base)
    return Path(snapshot_download(str(base), allow_patterns=["*.json", "*.txt", "*.jinja", "*.safetensors"]))


def fingerprint(base: str | os.PathLike) -> str:
    """SHA-256 of the weights, model configuration and image preprocessing of a checkpoint, or of a ``.pth`` file."""
    digest = hashlib.sha256()
    if Path(base).suffix == ".pth":
        paths = [Path(base)]
    else:
        folder = model_folder(base)
        paths = sorted(path for pattern in WEIGHT_FILES for path in folder.glob(pattern))
    for path in paths:
        with open(path, "rb") as file:
            digest.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def ids_hash(image_ids: Sequence[str]) -> str:
    """SHA-256 of image ids and their order."""
    return hashlib.sha256("\0".join(image_ids).encode()).hexdigest()


@dataclass(frozen=True)
class EmbeddingInfo:
    """What the rows of ``embeddings.npy`` were made of: they are made again when any of it differs."""

    model: str  # fingerprint of the checkpoint
    dtype: str  # that the encoder computed in
    image_ids: str  # ids_hash of the metadata table
    photos: int  # rows
    storage: str = "float32"  # that the rows are kept in

    @classmethod
    def load(cls, folder: Path) -> "EmbeddingInfo":
        return cls(**json.loads((folder / "embeddings.json").read_text(encoding="utf-8")))


# ---- galleries ----


def gallery_embeddings(
    folder: Path,
    base: str | os.PathLike,
    image_ids: Sequence[str],
    store: ImageStore,
    dtype: str = "auto",
    device: str = "cpu",
    batch_size: int = 32,
    workers: int = 0,
    storage: str = "float32",
    processes: Processes | None = None,
) -> tuple[np.ndarray, list[str]] | None:
    """The embeddings of a gallery, from ``folder/embeddings.npy`` where they fit, else made and kept there.

    Args:
        storage: "float32", or "float16", which takes half the space.
        processes: those that call this together, each for its shards.

    Returns:
        (n, dimension) of type ``storage``, mapped from the file, and a message for each photo that could not be read;
        None in all processes but the first.
    """
    processes = processes or Processes()
    if not image_ids:
        raise ValueError("the gallery has no photos")
    file = folder / "embeddings.npy"
    info = EmbeddingInfo(fingerprint(base), dtype, ids_hash(image_ids), len(image_ids), storage)
    if (folder / "embeddings.json").exists() and EmbeddingInfo.load(folder) == info:
        if processes.rank > 0:
            return None
        embeddings = np.load(file, mmap_mode="r")
        unreadable = np.flatnonzero(np.isnan(embeddings[:, 0]))
        return embeddings, [f"{image_ids[row]}: unreadable when {file} was made" for row in unreadable]

    # Named by what is in it: shards of another model or gallery are not taken for these.
    shards = folder / f"shards-{hashlib.sha256(json.dumps(asdict(info)).encode()).hexdigest()[:16]}"
    problems = _embed_shards(shards, base, image_ids, store, info, device, batch_size, workers, processes)
    gathered = processes.gather(problems)
    if gathered is None:
        return None
    # Whoever stops in between finds no embeddings.json rather than one that speaks of other embeddings.
    (folder / "embeddings.json").unlink(missing_ok=True)
    with atomic_path(file) as temporary:
        _merge(shards, len(image_ids), temporary)
    with atomic_path(folder / "embeddings.json") as temporary:
        temporary.write_text(json.dumps(asdict(info), indent=2) + "\n", encoding="utf-8")
    shutil.rmtree(shards)
    return np.load(file, mmap_mode="r"), [problem for part in gathered for problem in part]


def _shard_path(folder: Path, rows: range) -> Path:
    return folder / f"{rows.start:09}.npy"


def _embed_shards(
    folder: Path,
    base: str | os.PathLike,
    image_ids: Sequence[str],
    store: ImageStore,
    info: EmbeddingInfo,
    device: str,
    batch_size: int,
    workers: int,
    processes: Processes,
) -> list[str]:
    """Make those shards of this process that are not in ``folder`` yet; returns problems of all its shards."""
    shards = _split(range(len(image_ids)), SHARD)[processes.rank :: processes.count]
    problems, missing = [], []
    for rows in shards:
        if _shard_path(folder, rows).exists():
            unreadable = np.flatnonzero(np.isnan(np.load(_shard_path(folder, rows), mmap_mode="r")[:, 0]))
            problems += [f"{image_ids[rows[row]]}: unreadable when it was embedded" for row in unreadable]
        else:
            missing.append(rows)
    if not missing:
        return problems
    encoder = load_encoder(base, info.dtype, device)
    # One loader for all shards, so that the workers read ahead across their borders.
    batches = [_split(rows, batch_size) for rows in missing]
    done = sum(map(len, shards)) - sum(map(len, missing))
    with tqdm(
        total=sum(map(len, shards)), initial=done, desc="gallery", unit="photo", disable=processes.rank > 0
    ) as progress:
        embedded = _embedded_batches(
            encoder, image_ids, store, [batch for parts in batches for batch in parts], workers, progress
        )
        for shard, parts in zip(missing, batches, strict=True):
            embeddings = np.full((len(shard), encoder.dimension), np.nan, dtype=info.storage)
            for _ in parts:
                rows, vectors, found = next(embedded)
                embeddings[np.array(rows, dtype=np.int64) - shard.start] = vectors
                problems += found
            with atomic_path(_shard_path(folder, shard)) as temporary:
                np.save(temporary, embeddings)
    return problems


def _merge(folder: Path, count: int, target: Path) -> None:
    """Write the shards of ``count`` photos as one array, without holding more than one of them in memory."""
    merged = None
    for rows in _split(range(count), SHARD):
        shard = np.load(_shard_path(folder, rows))
        if merged is None:
            shape = (count, shard.shape[1])
            merged = np.lib.format.open_memmap(target, "w+", dtype=shard.dtype, shape=shape)
        merged[rows.start : rows.stop] = shard
    merged.flush()
