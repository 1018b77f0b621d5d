"""Contrastive losses of pretraining: pictures against pictures, and pictures against places."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from utils.geography.geodesy import haversine_km, unit_vectors

MATCH_KM = 30.0  # of pictures with pictures
PLACE_KM = 100.0  # of pictures with places
PLACE_WEIGHT = 0.5


def soft_contrastive(logits: torch.Tensor, km: np.ndarray, scale_km: float) -> torch.Tensor:
    """Cross-entropy of each row against soft targets ``exp(-km / scale_km)``, normalised; both (rows, columns)."""
    targets = torch.softmax(torch.from_numpy(-km / scale_km).float(), dim=1)
    return F.cross_entropy(logits, targets)


def both_ways(logits: torch.Tensor, km: np.ndarray, scale_km: float) -> torch.Tensor:
    """``soft_contrastive`` of rows and of columns, their mean."""
    return (soft_contrastive(logits, km, scale_km) + soft_contrastive(logits.T, km.T, scale_km)) / 2


def pairwise_km(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n, 2) and (m, 2) degrees -> (n, m) km."""
    return haversine_km(a[:, None, 0], a[:, None, 1], b[None, :, 0], b[None, :, 1])


def scale(log_scale: torch.Tensor) -> torch.Tensor:
    """What cosines are multiplied with in a contrast: learnt, but not beyond exp(4)."""
    return log_scale.clamp(max=4.0).exp()


class LocationEncoder(nn.Module):
    """Coordinates to unit vectors of ``width``: random Fourier features at three scales, then two layers.

    After the location encoders of GeoCLIP (2309.16020), on the unit vector instead of a map projection. The coarsest
    features change over thousands of km, the finest over some 60 km.
    """

    SCALES = (2.0, 12.0, 60.0)

    def __init__(self, width: int) -> None:
        super().__init__()
        frequencies = torch.cat([torch.randn(3, 128) * scale for scale in self.SCALES], dim=1)
        self.register_buffer("frequencies", frequencies)
        self.layers = nn.Sequential(nn.Linear(2 * frequencies.shape[1], 512), nn.GELU(), nn.Linear(512, width))

    def forward(self, points: np.ndarray) -> torch.Tensor:
        """(n, 2) degrees -> (n, width)."""
        phase = torch.from_numpy(unit_vectors(*points.T)).float() @ self.frequencies
        return F.normalize(self.layers(torch.cat([phase.sin(), phase.cos()], dim=1)), dim=1)


def place_loss(
    location: LocationEncoder,
    log_scale: torch.Tensor,
    located: torch.Tensor,
    points: np.ndarray,
    extra_points: np.ndarray,
) -> torch.Tensor:
    """Contrast of ``located`` (n, width) with the codes of their points (n, 2) and of extra_points, more negatives."""
    places = np.concatenate([points, extra_points])
    logits = scale(log_scale) * F.normalize(located, dim=1) @ location(places).T
    return soft_contrastive(logits, pairwise_km(points, places), PLACE_KM)
