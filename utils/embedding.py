"""Photos as vectors, by the vision tower of a Qwen-VL checkpoint.

The embedding of a photo is the mean of its merged image tokens (what the language model is given), scaled to
length 1. A photo that cannot be read has a row of NaN, so that row numbers stay those of the metadata table.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from huggingface_hub import snapshot_download
from PIL import Image
from torch import FloatTensor, LongTensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm
from transformers import AutoModel, BaseImageProcessor, PreTrainedModel
from transformers.models.auto.image_processing_auto import AutoImageProcessor

from utils.files import atomic_path
from utils.images import ImageError, ImageStore

WEIGHT_FILES = ("config.json", "*processor_config.json", "*.safetensors")  # what an embedding depends on


class TowerEncoder:
    """Embeds photos with the vision tower of ``backbone``, a stock Qwen-VL ``AutoModel``.

    The stock tower calls attention once an image. On CPU that costs little (measured: vectorising it over
    images of equal size with ``torch.func.vmap`` gains nothing); bfloat16 is about 2.5 times as fast as
    float32.
    """

    def __init__(self, backbone: PreTrainedModel, image_processor: BaseImageProcessor) -> None:
        self.backbone = backbone.eval()
        self.image_processor = image_processor

    @classmethod
    def from_pretrained(
        cls, base: str | os.PathLike, dtype: str | torch.dtype = "auto", device: str | torch.device = "cpu"
    ) -> "TowerEncoder":
        """Load the tower of a checkpoint folder or hub name; ``dtype`` "auto" is that of the checkpoint.

        Raises ``ValueError``, naming the tensors, when the checkpoint lacks weights of the model.
        """
        backbone, loading = AutoModel.from_pretrained(base, dtype=dtype, output_loading_info=True)
        if missing := sorted(loading["missing_keys"]):
            raise ValueError(f"checkpoint {base} does not fit {type(backbone).__name__}: missing tensors {missing}")
        # Only the tower embeds; the rest is most of the model's memory.
        backbone.language_model = nn.Identity()
        return cls(backbone.to(device), AutoImageProcessor.from_pretrained(base, backend="pil"))

    @property
    def dimension(self) -> int:
        """Length of an embedding: the hidden size of the language model that the tower feeds."""
        return self.backbone.config.get_text_config().hidden_size

    @torch.inference_mode()
    def embed(self, pixel_values: FloatTensor, grid_thw: LongTensor) -> np.ndarray:
        """Embeddings (n, dimension) float32 of preprocessed photos: (patches, patch_dim) and (n, 3)."""
        device = self.backbone.device
        output = self.backbone.get_image_features(pixel_values.to(device), image_grid_thw=grid_thw.to(device))
        means = torch.stack([tokens.float().mean(0) for tokens in output.pooler_output])
        return nn.functional.normalize(means, dim=-1).cpu().numpy()

    def encode(self, images: list[Image.Image]) -> np.ndarray:
        """Embeddings of RGB photos: (n, dimension) float32, rows of length 1."""
        inputs = self.image_processor(images=images, return_tensors="pt")
        return self.embed(inputs["pixel_values"], inputs["image_grid_thw"])


@dataclass
class _Batch:
    """What a worker makes of some photos."""

    rows: list[int]  # row numbers of the readable ones
    pixel_values: list[FloatTensor]  # one tensor (patches of all, patch_dim), or none where nothing was readable
    grid_thw: LongTensor  # (readable, 3)
    problems: list[str]


class _Photos(Dataset):
    def __init__(self, image_ids: Sequence[str], store: ImageStore, processor: BaseImageProcessor) -> None:
        self.image_ids, self.store, self.processor = image_ids, store, processor

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getitem__(self, row: int) -> tuple[int, FloatTensor, LongTensor] | str:
        image_id = self.image_ids[row]
        try:
            inputs = self.processor(images=[self.store.open(image_id)], return_tensors="pt")
        except ImageError as error:
            return str(error)
        except ValueError as error:  # a shape that the processor refuses
            return f"{image_id}: {error}"
        return row, inputs["pixel_values"], inputs["image_grid_thw"]

    @staticmethod
    def collate(items: list[tuple[int, FloatTensor, LongTensor] | str]) -> _Batch:
        photos = [item for item in items if not isinstance(item, str)]
        return _Batch(
            rows=[row for row, _, _ in photos],
            # One tensor a batch: tensors travel between processes as open files, of which there are few.
            pixel_values=[torch.cat([pixels for _, pixels, _ in photos])] if photos else [],
            grid_thw=torch.cat([grid for _, _, grid in photos]) if photos else torch.empty(0, 3),
            problems=[item for item in items if isinstance(item, str)],
        )


def embed_photos(
    encoder: TowerEncoder,
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
    photos = _Photos(image_ids, store, encoder.image_processor)
    loader = DataLoader(photos, batch_size=batch_size, num_workers=workers, collate_fn=photos.collate)
    with tqdm(total=len(image_ids), desc=label, unit="photo") as progress:
        for batch in loader:
            for pixel_values in batch.pixel_values:
                embeddings[batch.rows] = encoder.embed(pixel_values, batch.grid_thw)
            problems += batch.problems
            progress.update(len(batch.rows) + len(batch.problems))
    return embeddings, problems


def model_folder(base: str | os.PathLike) -> Path:
    """The folder of a checkpoint: ``base`` itself, or the local copy of a hub repository."""
    if Path(base).is_dir():
        return Path(base)
    return Path(snapshot_download(str(base), allow_patterns=["*.json", "*.txt", "*.jinja", "*.safetensors"]))


def fingerprint(base: str | os.PathLike) -> str:
    """SHA-256 of the weights, model configuration and image preprocessing of a checkpoint."""
    folder, digest = model_folder(base), hashlib.sha256()
    for path in sorted(path for pattern in WEIGHT_FILES for path in folder.glob(pattern)):
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
    dtype: str  # that the tower computed in
    image_ids: str  # ids_hash of the metadata table
    photos: int  # rows

    @classmethod
    def load(cls, folder: Path) -> "EmbeddingInfo":
        return cls(**json.loads((folder / "embeddings.json").read_text(encoding="utf-8")))


def gallery_embeddings(
    folder: Path,
    base: str | os.PathLike,
    image_ids: Sequence[str],
    store: ImageStore,
    dtype: str = "auto",
    device: str = "cpu",
    batch_size: int = 32,
    workers: int = 0,
) -> tuple[np.ndarray, list[str]]:
    """The embeddings of a gallery, from ``folder/embeddings.npy`` where they fit, else made and kept there.

    Returns:
        (n, dimension) float32, mapped from the file, and a message for each photo that could not be read.
    """
    file = folder / "embeddings.npy"
    info = EmbeddingInfo(fingerprint(base), dtype, ids_hash(image_ids), len(image_ids))
    if (folder / "embeddings.json").exists() and EmbeddingInfo.load(folder) == info:
        embeddings = np.load(file, mmap_mode="r")
        unreadable = np.flatnonzero(np.isnan(embeddings[:, 0]))
        return embeddings, [f"{image_ids[row]}: unreadable when {file} was made" for row in unreadable]
    encoder = TowerEncoder.from_pretrained(base, dtype, device)
    embeddings, problems = embed_photos(encoder, image_ids, store, batch_size, workers, "gallery")
    # Whoever stops in between finds no embeddings.json rather than one that speaks of other embeddings.
    (folder / "embeddings.json").unlink(missing_ok=True)
    with atomic_path(file) as temporary:
        np.save(temporary, embeddings)
    with atomic_path(folder / "embeddings.json") as temporary:
        temporary.write_text(json.dumps(asdict(info), indent=2) + "\n", encoding="utf-8")
    return np.load(file, mmap_mode="r"), problems
