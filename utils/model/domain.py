"""What an adapter was calibrated on: of a photo unlike all of that nothing is stated.

A ranker ranks places for any photo, and its rewards do not say that it has never seen the like. The vision tower's
tokens do. The middle square of a photo, at a fixed size, is described by the mean and the standard deviation of its
tokens. Photos of one kind fill few of the directions that such descriptions can take: the rest is nearly constant
among them, and what deviates there is of another kind (principal components of least variance, as in subspace novelty
detection; e.g. Shyu et al. 2003, "A novel anomaly detection scheme based on principal component classifier"). How
large a photo is, its aspect and its name play no part.

``domain.safetensors`` lies beside ``georanker.json``, which says in words what the adapter was calibrated on.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, ImageOps
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from utils.jobs.files import atomic_path
from utils.model.adapter_info import DOMAIN_FILENAME
from utils.model.checkpoint import load_tensors
from utils.model.packing import Packer
from utils.model.tower import image_features

TOKENS_SEEN = 4  # a photo's square is reduced to so many tokens a side, so that no detail tells its size,
TOKENS_SHOWN = 8  # and shown enlarged to so many, which describe it better
KEPT = 0.5  # share of the directions, those of least variance
INSIDE = 0.98  # share of the photos like those it was calibrated on that count as such


@torch.no_grad()
def describe_photos(backbone: PreTrainedModel, packer: Packer, photos: Sequence[Image.Image]) -> Tensor:
    """RGB photos -> (photos, 2 hidden) float32 on the CPU: mean and standard deviation of the tower's tokens."""
    token = backbone.visual.config.patch_size * packer.image_processor.merge_size  # pixels
    squares = []
    for photo in photos:
        seen = ImageOps.fit(photo, (TOKENS_SEEN * token,) * 2, Image.Resampling.BICUBIC)
        squares.append(seen.resize((TOKENS_SHOWN * token,) * 2, Image.Resampling.BICUBIC))
    pixels = (TOKENS_SHOWN * token) ** 2
    encoded = packer.image_processor(
        images=squares, size={"shortest_edge": pixels, "longest_edge": pixels}, return_tensors="pt"
    ).to(backbone.device)
    tokens = image_features(backbone, encoded["pixel_values"], encoded["image_grid_thw"])[0]
    tokens = tokens.float().cpu().unflatten(0, (len(photos), TOKENS_SHOWN**2))  # (photos, tokens, hidden)
    return torch.cat([tokens.mean(1), tokens.std(1)], dim=1)


@dataclass(frozen=True, eq=False)
class Domain:
    """What photos of one kind have in common."""

    mean: Tensor  # (d,) of their descriptions
    directions: Tensor  # (d, kept) of least variance, divided by the standard deviation along each
    threshold: float  # the score that INSIDE of them do not exceed

    @classmethod
    def fit(cls, photos: Tensor, calibration: Tensor) -> "Domain":
        """Directions from ``photos`` (n, d), the threshold from ``calibration`` (m, d), other photos of the kind.

        Raises ``ValueError`` where they are too few.
        """
        if len(photos) <= photos.shape[1]:
            raise ValueError(f"{len(photos)} photos are too few: more than {photos.shape[1]} are needed")
        least = round(1 / (1 - INSIDE))
        if len(calibration) < least:
            raise ValueError(f"{len(calibration)} photos for the threshold are too few: {least} are needed")
        photos = photos.double()
        variances, vectors = torch.linalg.eigh(torch.cov(photos.T))  # the least first
        kept = int(KEPT * len(variances))
        # Below float32's resolution of the descriptions there is nothing but rounding.
        deviations = variances[:kept].clamp(min=variances[-1] * torch.finfo(torch.float32).eps ** 2).sqrt()
        # safetensors takes no views.
        directions = (vectors[:, :kept] / deviations).float().contiguous()
        domain = cls(photos.mean(0).float(), directions, 0.0)
        return cls(domain.mean, directions, torch.quantile(domain.scores(calibration), INSIDE).item())

    def scores(self, described: Tensor) -> Tensor:
        """How unlike the domain photos are: descriptions (n, d) -> (n,), squared standard deviations summed."""
        return ((described - self.mean) @ self.directions).square().sum(1)

    def holds(self, described: Tensor) -> bool:
        """Whether the photo that ``described`` (1, d) describes is like those of the domain."""
        return self.scores(described).item() <= self.threshold

    def save(self, folder: str | os.PathLike) -> None:
        tensors = {"mean": self.mean, "directions": self.directions, "threshold": torch.tensor(self.threshold)}
        with atomic_path(Path(folder, DOMAIN_FILENAME)) as temporary:
            save_file(tensors, temporary)

    @classmethod
    def load(cls, folder: str | os.PathLike, hidden: int) -> "Domain":
        """What ``save`` wrote, for a model of width ``hidden``.

        Raises ``FileNotFoundError`` where there is none, and ``ValueError``, naming the file, where it is damaged or of
        another model.
        """
        path = Path(folder, DOMAIN_FILENAME)
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist, though georanker.json has a domain")
        tensors = load_tensors(path, ("F32",))
        width = 2 * hidden
        shapes = {"mean": (width,), "directions": (width, int(KEPT * width)), "threshold": ()}
        found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        if found != shapes:
            raise ValueError(f"{path} has tensors {found}, not {shapes}: is it of another model?")
        if tensors["threshold"] < 0:
            raise ValueError(f"{path}: threshold is {tensors['threshold'].item()}: it cannot be negative")
        return cls(tensors["mean"], tensors["directions"], tensors["threshold"].item())
