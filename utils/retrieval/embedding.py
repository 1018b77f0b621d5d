"""The embeddings of many photos: decoded in worker processes, embedded in batches."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from transformers import AutoConfig, BaseImageProcessor

from utils.jobs.progress import progress_bar
from utils.photos.images import ImageError
from utils.photos.store import ImageStore
from utils.retrieval.encoders import ClipEncoder, Encoder, TowerEncoder, concatenate, preprocess
from utils.retrieval.g3 import G3Encoder

QWEN_VL = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_5")
CLIP_LIKE = ("clip", "metaclip_2", "siglip", "siglip2")


def load_encoder(model: str | os.PathLike, dtype: str = "auto", device: str | torch.device = "cpu") -> Encoder:
    """The encoder that ``model`` is: G3's ``.pth`` file, or the folder or hub name of a checkpoint.

    ``dtype`` "auto" is that of the weights; a CPU without instructions for it computes in float32. Raises
    ``ValueError`` when ``model`` is of no known type or incomplete.
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


def embedded_batches(
    encoder: Encoder,
    image_ids: Sequence[str],
    store: ImageStore,
    batches: Iterable[Sequence[int]],
    workers: int,
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
        embeddings = encoder.embed(inputs) if rows else np.empty((0, encoder.dimension), dtype=np.float32)
        yield rows, embeddings, problems


def split(rows: range, size: int) -> list[range]:
    """Consecutive parts of ``rows``, ``size`` long but for the last."""
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
    batches = split(range(len(image_ids)), batch_size)
    with progress_bar(total=len(image_ids), desc=label, unit="photo") as progress:
        for rows, embedded, found in embedded_batches(encoder, image_ids, store, batches, workers):
            embeddings[rows] = embedded
            problems += found
            progress.update(len(rows) + len(found))
    return embeddings, problems
