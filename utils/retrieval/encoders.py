"""Photos as vectors: the image encoders that a gallery can be embedded with.

    a Qwen-VL checkpoint      its vision tower: no second model is needed beside the ranker
    a CLIP-like checkpoint    CLIP, MetaCLIP 2, SigLIP, SigLIP 2: their image features
    a ``.pth`` file           G3's retrieval encoder (``g3.py``)

``embedding.load_encoder`` tells which one it is given. Embeddings have length 1: their inner product is a cosine.
"""

import os
from abc import ABC, abstractmethod

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import AutoModel, BaseImageProcessor, PreTrainedModel

from utils.model.checkpoint import KEY_MAPPING, load_checkpoint
from utils.model.device import placed
from utils.model.preprocessing import load_image_processor, load_tower_processor

UNIT = 1e-3  # how far the length of an embedding may be from 1


class Encoder(ABC):
    """Embeds photos: ``image_processor`` turns one into tensors, in any process; ``embed`` runs the model.

    The tensors of a batch are those of its photos, concatenated along the first axis.
    """

    image_processor: BaseImageProcessor
    dimension: int  # length of an embedding

    @abstractmethod
    def embed(self, inputs: dict[str, Tensor]) -> np.ndarray:
        """Embeddings (n, dimension) float32, rows of length 1, of a batch of n preprocessed photos."""

    def encode(self, images: list[Image.Image]) -> np.ndarray:
        """Embeddings of RGB photos: (n, dimension) float32, rows of length 1.

        Raises ``ValueError`` where the model gives something else, as with damaged weights.
        """
        photos = [preprocess(self.image_processor, image) for image in images]
        return units(self.embed(concatenate(photos)))


def units(embeddings: np.ndarray) -> np.ndarray:
    """The rows ``embeddings`` (n, d). Raises ``ValueError`` unless all have length 1."""
    if not (np.abs(np.linalg.norm(embeddings, axis=1) - 1) < UNIT).all():  # nor are they with NaN
        raise ValueError("embeddings that are not of length 1")
    return embeddings


def preprocess(processor: BaseImageProcessor, image: Image.Image) -> dict[str, Tensor]:
    """One RGB photo as an encoder's input. Raises ``ValueError`` for a shape that the processor refuses."""
    return dict(processor(images=[image], return_tensors="pt"))


def concatenate(photos: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The batch of some preprocessed photos, of which there is at least one."""
    return {name: torch.cat([photo[name] for photo in photos]) for name in photos[0]}


class TowerEncoder(Encoder):
    """Embeds photos with the vision tower of ``backbone``, a stock Qwen-VL ``AutoModel``.

    The embedding of a photo is the mean of its merged image tokens (what the language model is given), scaled to
    length 1. The stock tower calls attention once an image. On CPU that costs little (measured: vectorising it over
    images of equal size with ``torch.func.vmap`` gains nothing); bfloat16 is about 2.5 times as fast as float32 where
    the CPU has instructions for it, and else takes 5 times as long.
    """

    def __init__(self, backbone: PreTrainedModel, image_processor: BaseImageProcessor) -> None:
        self.backbone = backbone.eval()
        self.image_processor = image_processor
        # What the tower feeds is as wide as the language model.
        self.dimension = backbone.config.get_text_config().hidden_size

    @classmethod
    def from_pretrained(
        cls, base: str | os.PathLike, dtype: str = "auto", device: str | torch.device = "cpu"
    ) -> "TowerEncoder":
        """Load the tower of a checkpoint folder or hub name; ``dtype`` "auto" is that of the checkpoint.

        Raises ``ValueError``, naming the tensors, when the checkpoint does not fit the model.
        """
        backbone = load_checkpoint(
            AutoModel, base, ("lm_head.weight",), dtype=dtype, key_mapping=KEY_MAPPING, use_safetensors=True
        )
        processor = load_tower_processor(base, backbone)
        # Only the tower embeds; the rest is most of the model's memory.
        backbone.language_model = nn.Identity()
        return cls(placed(backbone, device), processor)

    @torch.inference_mode()
    def embed(self, inputs: dict[str, Tensor]) -> np.ndarray:
        """See ``Encoder``; ``pixel_values`` (patches of all photos, patch_dim), ``image_grid_thw`` (n, 3)."""
        inputs = to_device(inputs, self.backbone.device)
        output = self.backbone.get_image_features(**inputs)
        means = torch.stack([tokens.float().mean(0) for tokens in output.pooler_output])  # (n, dimension)
        return nn.functional.normalize(means, dim=-1).cpu().numpy()


class ClipEncoder(Encoder):
    """Embeds photos with ``get_image_features`` of a stock CLIP-like ``AutoModel``."""

    def __init__(self, model: PreTrainedModel, image_processor: BaseImageProcessor) -> None:
        self.model = model.eval()
        self.image_processor = image_processor
        # The families keep it in different places of their configuration.
        self.dimension = self.encode([Image.new("RGB", (64, 64))]).shape[1]

    @classmethod
    def from_pretrained(
        cls, base: str | os.PathLike, dtype: str = "auto", device: str | torch.device = "cpu"
    ) -> "ClipEncoder":
        """Load a checkpoint folder or hub name; raises ``ValueError`` as ``TowerEncoder`` does."""
        model = load_checkpoint(AutoModel, base, dtype=dtype, use_safetensors=True)
        return cls(placed(model, device), load_image_processor(base))

    @torch.inference_mode()
    def embed(self, inputs: dict[str, Tensor]) -> np.ndarray:
        """See ``Encoder``; ``pixel_values`` (n, 3, height, width), for SigLIP 2 patches and their layout."""
        inputs = to_device(inputs, self.model.device)
        features = self.model.get_image_features(**inputs).pooler_output  # (n, dimension)
        return nn.functional.normalize(features.float(), dim=-1).cpu().numpy()


def to_device(inputs: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """A batch on ``device``; copied while the processor goes on, where it lies in pinned memory."""
    return {name: tensor.to(device, non_blocking=True) for name, tensor in inputs.items()}
