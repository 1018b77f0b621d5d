"""GeoCLIP's points: 100,000 places and what GeoCLIP sees in each of them, to be searched like a gallery without photos.

GeoCLIP (Vivanco et al., NeurIPS 2023, arXiv 2309.16020) embeds photos and coordinates into one space, where a photo
resembles the place that it was taken at. The location encoder is the class of the authors' package ``geoclip``.
"""

import hashlib
import importlib.metadata
import logging
import os
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional
from transformers.utils import logging as transformers_logging

from utils.geography.geodesy import is_valid_coordinate
from utils.jobs.files import user_cache, write_array
from utils.jobs.locks import making
from utils.jobs.outputs import check_outputs
from utils.jobs.progress import progress_bar
from utils.jobs.reading import naming, read_array
from utils.model.checkpoint import check_tensors, load_tensors
from utils.retrieval.encoders import units
from utils.retrieval.exact_index import ExactIndex
from utils.retrieval.geoclip_files import Release
from utils.retrieval.state_files import check_numbers, read_state

logger = logging.getLogger(__name__)

DIMENSION = 512  # of the space that photos and places share
LOCATION_ENCODER = "location_encoder."
BATCH = 2_000  # points embedded at a time


def geoclip_package(name: str) -> type[torch.nn.Module]:
    """A class of the package geoclip."""
    # It imports an image processor in a variant for torchvision, and takes the other one with a warning.
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        import geoclip
    finally:
        transformers_logging.set_verbosity(verbosity)
    return vars(geoclip)[name]


def read_weights(release: Release) -> dict[str, Tensor]:
    """The tensors of a release by their names in it. Raises ``ValueError``, naming the file, where one is damaged."""
    tensors = {}
    for prefix, path in release.weights.items():
        own = load_tensors(path) if path.suffix == ".safetensors" else check_numbers(path, read_state(path))
        tensors |= {prefix + name: tensor for name, tensor in own.items()}
    return tensors


def load_part(module: torch.nn.Module, tensors: dict[str, Tensor], prefix: str, where: Path) -> torch.nn.Module:
    """``module`` with the tensors whose names begin with ``prefix``, for inference.

    Raises ``ValueError``, naming the file ``where`` and the tensors that are missing, left over or wrongly shaped.
    """
    own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    shapes = {name: tensor.shape for name, tensor in module.state_dict().items()}
    check_tensors(f"{where} does not fit GeoCLIP ({prefix}*)", own, shapes)
    module.load_state_dict(own)
    return module.eval()


def read_points(path: Path) -> np.ndarray:
    """(n, 2) degrees of a CSV file with LAT, LON. Raises ``ValueError``, naming file and row, for anything else."""
    with naming(path):
        points = pd.read_csv(path, usecols=["LAT", "LON"], dtype=np.float64)[["LAT", "LON"]].to_numpy()
        if not len(points):
            raise ValueError("it has no points")
        wrong = np.flatnonzero(~is_valid_coordinate(*points.T))
        if len(wrong):
            raise ValueError(f"row {wrong[0]}: LAT, LON: {points[wrong[0]].tolist()} is not a coordinate")
    return points


class GeoClipPoints:
    """Points of the Earth with their embeddings, ready to be searched.

    >>> places = GeoClipPoints.from_pretrained()  # doctest: +SKIP
    >>> rows, similarities = places.search(places.encode([[48.8584, 2.2945]]), topk=20)  # doctest: +SKIP
    >>> places.points[rows[0]]  # doctest: +SKIP
    """

    def __init__(self, points: np.ndarray, encoder: torch.nn.Module, device: str | torch.device = "cpu") -> None:
        """``points`` (n, 2) degrees; ``encoder`` is a ``geoclip.LocationEncoder`` on the CPU."""
        self.points = points
        self.digest = _digest(points, encoder.state_dict())  # of what the embeddings depend on
        self.encoder = encoder.to(device).eval()
        self.device = device

    @classmethod
    def from_pretrained(
        cls, source: str | os.PathLike | None = None, *, device: str | torch.device = "cpu"
    ) -> "GeoClipPoints":
        """Those of the installed package, or of the folder ``source``, a release of its hub.

        Raises what ``Release.of`` does, and ``ValueError``, naming the file, where one is damaged.
        """
        release = Release.of(source)
        return cls.of(release, read_weights(release), device)

    @classmethod
    def of(cls, release: Release, tensors: dict[str, Tensor], device: str | torch.device = "cpu") -> "GeoClipPoints":
        """From the tensors of ``read_weights``."""
        encoder = geoclip_package("LocationEncoder")(sigma=release.sigma, from_pretrained=False)
        path = next(path for prefix, path in release.weights.items() if LOCATION_ENCODER.startswith(prefix))
        return cls(read_points(release.points), load_part(encoder, tensors, LOCATION_ENCODER, path), device)

    @torch.inference_mode()
    def encode(self, points: np.ndarray | list[list[float]]) -> np.ndarray:
        """Embeddings (n, 512) float32, rows of length 1, of points (n, 2) in degrees."""
        inputs = torch.tensor(np.asarray(points), dtype=torch.float32, device=self.device)
        return functional.normalize(self.encoder(inputs), dim=1).cpu().numpy()

    @property
    def cache(self) -> Path:
        """Where ``embeddings`` are kept: one file for all checkouts and processes of a user."""
        return user_cache() / "geoclip" / f"{self.digest[:20]}.npy"

    @cached_property
    def embeddings(self) -> np.ndarray:
        """(n, 512) float32, rows of length 1: computed once, then read from ``cache``, which processes share.

        Raises ``ValueError``, naming the file, where it is damaged, and where the weights give something else.
        """
        path = self.cache
        if path.exists():
            return self._read(path)
        try:
            check_outputs([("GeoCLIP's points", path)])
        except OSError as error:
            logger.warning("%s; they are embedded anew each time", error)
            return self._encode_all()
        with making(path):
            # Unless another process has made it meanwhile.
            return self._read(path) if path.exists() else self._make(path)

    def _make(self, path: Path) -> np.ndarray:
        logger.info("GeoCLIP's %d points are embedded, once, and kept in %s", len(self.points), path)
        embeddings = self._encode_all()
        try:
            write_array(path, embeddings)
        except OSError as error:
            logger.warning("%s: %s; GeoCLIP's points are embedded anew each time", path, error.strerror)
        return embeddings

    def _encode_all(self) -> np.ndarray:
        embeddings = np.empty((len(self.points), DIMENSION), dtype=np.float32)
        with progress_bar(total=len(self.points), desc="GeoCLIP's points", unit="point") as progress:
            for start in range(0, len(self.points), BATCH):
                batch = self.points[start : start + BATCH]
                embeddings[start : start + BATCH] = self.encode(batch)
                progress.update(len(batch))
        with naming("the embeddings of GeoCLIP's points, whose weights may be damaged"):
            return units(embeddings)

    def _read(self, path: Path) -> np.ndarray:
        try:
            embeddings = read_array(path, ("float32",), 2)
            with naming(path):
                if embeddings.shape != (len(self.points), DIMENSION):
                    raise ValueError(f"shape {embeddings.shape}, not {(len(self.points), DIMENSION)}")
                units(embeddings)
        except ValueError as error:
            raise ValueError(f"{error}: remove the file, and GeoCLIP's points are embedded anew") from error
        return embeddings

    def prepare(self) -> None:
        """Embed the points now, or read what is kept, rather than at the first search; raises as ``embeddings``."""
        _ = self._index

    @cached_property
    def _index(self) -> ExactIndex:
        return ExactIndex.build(self.embeddings, components=0)

    def search(self, embeddings: np.ndarray, topk: int) -> tuple[np.ndarray, np.ndarray]:
        """The points most similar to query embeddings (m, 512), rows of length 1.

        Returns:
            Row numbers of ``points`` (m, topk) int64 and cosines (m, topk) float32, highest first, equal ones by row.

        Raises:
            ValueError: when there are fewer than ``topk`` points.
        """
        if not 1 <= topk <= len(self.points):
            raise ValueError(f"topk is {topk}, but GeoCLIP has {len(self.points)} points")
        return self._index.search(embeddings, topk)


def _digest(points: np.ndarray, weights: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(importlib.metadata.version("geoclip").encode())
    digest.update(points.astype(np.float32).tobytes())
    for name, tensor in sorted(weights.items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()
