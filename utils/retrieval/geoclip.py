"""GeoCLIP: candidate places for a photo without a gallery, the most similar of 100,000 points of the Earth.

Source: Vivanco et al., GeoCLIP, NeurIPS 2023 (arXiv 2309.16020), and the authors' package ``geoclip``, whose weights,
points and location encoder these are. Its photo encoder is CLIP ViT-L/14 and two layers on top; CLIP is loaded here
without its text tower, with checks, and with the image processor that does without torchvision.
"""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from transformers import AutoModel, BaseImageProcessor, PreTrainedModel

from utils.jobs.reading import naming, read_json_object
from utils.model.checkpoint import load_checkpoint
from utils.model.preprocessing import load_image_processor
from utils.retrieval.clip_files import fetched_clip
from utils.retrieval.encoders import Encoder, to_device
from utils.retrieval.geoclip_files import CONFIG, Release, chosen_clip
from utils.retrieval.geoclip_points import DIMENSION, GeoClipPoints, load_part, read_weights

PROJECTION = "image_encoder.mlp."
CLIP_WIDTH = 768  # of the projected features of CLIP ViT-L/14


class GeoClip(Encoder):
    """Embeds photos, and finds the points that resemble them most.

    >>> geoclip = GeoClip.from_pretrained()  # doctest: +SKIP
    >>> rows, similarities = geoclip.search(geoclip.encode([photo]), topk=20)  # doctest: +SKIP
    >>> geoclip.points[rows[0]]  # (20, 2) degrees  # doctest: +SKIP
    """

    dimension = DIMENSION

    def __init__(
        self, clip: PreTrainedModel, image_processor: BaseImageProcessor, projection: nn.Module, places: GeoClipPoints
    ) -> None:
        """``clip`` and ``projection`` (768 -> 512) are on the device to compute on."""
        self.clip, self.image_processor = clip.eval(), image_processor
        self.projection, self.places = projection, places

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike | None = None,
        *,
        clip: str | os.PathLike | None = None,
        device: str | torch.device = "cpu",
    ) -> "GeoClip":
        """Load weights and points, and CLIP, which is downloaded on first use (1.7 GB, announced, resumable).

        Args:
            source: folder of a hub release; None: the installed package's own.
            clip: folder or hub name of the backbone; None: the one that the release names.

        Raises:
            FileNotFoundError: when CLIP is not on this machine and cannot be downloaded, with size and command.
            ValueError: when the package is missing, or naming the file, where one is damaged or does not fit.
        """
        release = Release.of(source)
        tensors = read_weights(release)
        places = GeoClipPoints.of(release, tensors, device)
        projection = nn.Sequential(nn.Linear(CLIP_WIDTH, CLIP_WIDTH), nn.ReLU(), nn.Linear(CLIP_WIDTH, DIMENSION))
        path = next(path for prefix, path in release.weights.items() if PROJECTION.startswith(prefix))
        load_part(projection, tensors, PROJECTION, path)
        folder = fetched_clip(*chosen_clip(release, clip))
        return cls(_load_clip(folder).to(device), load_image_processor(folder), projection.to(device), places)

    @property
    def points(self) -> np.ndarray:
        """(n, 2) degrees; see ``GeoClipPoints``."""
        return self.places.points

    @property
    def table(self) -> pd.DataFrame:
        """The points as ``retrieval_rows`` takes a gallery: LAT, LON."""
        return pd.DataFrame(self.points, columns=["LAT", "LON"])

    @property
    def point_embeddings(self) -> np.ndarray:
        """(n, 512) float32, rows of length 1; see ``GeoClipPoints.embeddings``."""
        return self.places.embeddings

    def search(self, embeddings: np.ndarray, topk: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows of ``points`` and cosines of photo and place; see ``GeoClipPoints.search``."""
        return self.places.search(embeddings, topk)

    @torch.inference_mode()
    def embed(self, inputs: dict[str, Tensor]) -> np.ndarray:
        """See ``Encoder``; ``pixel_values`` (n, 3, height, width)."""
        inputs = to_device(inputs, self.clip.device)
        features = self.clip.get_image_features(**inputs).pooler_output  # (n, 768), not of length 1
        return nn.functional.normalize(self.projection(features), dim=-1).cpu().numpy()


def _load_clip(folder: Path) -> PreTrainedModel:
    """CLIP without its text tower. Raises ``ValueError``, naming the file, for another model, or a damaged one."""
    config = read_json_object(folder / CONFIG)
    with naming(folder / CONFIG):
        if config.get("model_type") != "clip":
            raise ValueError(f"model_type is {config.get('model_type')!r}: GeoCLIP needs a 'clip'")
        if config.get("projection_dim") != CLIP_WIDTH:
            raise ValueError(f"projection_dim is {config.get('projection_dim')!r}: GeoCLIP needs {CLIP_WIDTH}")
    model = load_checkpoint(AutoModel, folder, dtype="float32", use_safetensors=True)
    model.text_model, model.text_projection = nn.Identity(), nn.Identity()  # photos do without
    return model
