"""What the language model of the embedded world learns from, once the tower is frozen: its image tokens, and groups.

A photo of a pretraining place stands among candidates as a ranker meets them: gallery tiles that the compressed index
finds, tiles of the region and of anywhere, and places without a picture, as an LVLM would guess them.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy.spatial import cKDTree
from transformers import Qwen2VLForConditionalGeneration

from earth.lvlm.data import PretrainData
from earth.lvlm.mixed_precision import mixed_precision
from earth.lvlm.tiles import encode_tiles, ground_km, late_interaction, token_ground
from earth.recipe import COMPONENTS, TILE_GRID, TOPK, TOPN
from utils.candidates import NUM_NEGATIVES, Candidate, Query
from utils.geography.geodesy import EARTH_RADIUS_KM, haversine_km, unit_vectors
from utils.jobs.files import write_array
from utils.jobs.progress import progress_bar
from utils.model.batch import EncodedImage
from utils.retrieval.exact_index import ExactIndex

REGION = 400  # nearest tiles that count as regional
CHUNK = 4096  # pictures at a time


class Tokens(Mapping[str, EncodedImage]):
    """Image tokens (pictures, tokens, hidden) of photos and tiles, by the ids "photo 12" and "tile 3"."""

    def __init__(self, photos: np.ndarray, tiles: np.ndarray) -> None:
        self.arrays = {"photo": photos, "tile": tiles}

    def __getitem__(self, image_id: str) -> EncodedImage:
        kind, number = image_id.split()
        features = torch.from_numpy(np.array(self.arrays[kind][int(number)]))
        return EncodedImage(torch.tensor(TILE_GRID), features=features[None])  # (1, tokens, hidden)

    def __iter__(self) -> Iterator[str]:
        return (f"{kind} {number}" for kind, array in self.arrays.items() for number in range(len(array)))

    def __len__(self) -> int:
        return sum(map(len, self.arrays.values()))


def image_tokens(model: Qwen2VLForConditionalGeneration, pictures: np.ndarray, cache: Path) -> np.ndarray:
    """Tokens (n, tokens, hidden) float16 of pictures (n, 64, 64, 3) by the frozen tower, kept in a file.

    Its name is that of ``cache`` and a digest of tower and pictures. For ``model`` see ``encode_tiles``.
    """
    digest = hashlib.sha256(np.ascontiguousarray(pictures))
    for name, weights in model.model.visual.state_dict().items():
        digest.update(name.encode() + weights.numpy().tobytes())
    cache = cache.with_stem(f"{cache.stem}-{digest.hexdigest()[:12]}")
    if not cache.exists():
        with torch.inference_mode(), mixed_precision():
            chunks = range(0, len(pictures), CHUNK)
            encoded = [
                encode_tiles(model, pictures[start : start + CHUNK]).half().numpy()
                for start in progress_bar(chunks, desc=cache.stem, unit="chunk")
            ]
            write_array(cache, np.concatenate(encoded))
    return np.load(cache, mmap_mode="r")


def embeddings(tokens: np.ndarray) -> np.ndarray:
    """Mean image tokens of length 1, (n, hidden) float32: what the retriever compares."""
    means = [tokens[start : start + CHUNK].mean(1, dtype=np.float32) for start in range(0, len(tokens), CHUNK)]
    means = np.concatenate(means)
    return means / np.linalg.norm(means, axis=1, keepdims=True)


@dataclass(frozen=True)
class PhotoGroup:
    """A photo with its candidates, of which the first ones have pictures, and what there is to know about them.

    places (candidates, 2) degrees; km (candidates,); similarity (pictures, 2) as the tower sees it: cosine of the
    embeddings, and late interaction. Of each image token of the candidates' pictures: match (pictures, tokens, tokens),
    its cosine with each token of the photo, and token_km (pictures, tokens), from its ground to the photo's centre.
    """

    query: Query
    places: np.ndarray
    km: np.ndarray
    similarity: np.ndarray
    match: np.ndarray
    token_km: np.ndarray


class PhotoGroups:
    """PhotoGroups of ``size`` candidates, ``guesses`` of them without a picture, for photos of pretraining places.

    photo_points (photos, 2) and photo_own (photos,), the gallery row of a photo's own place or -1: that tile is never
    its candidate, as a photo's own place is not in a gallery either.
    """

    def __init__(self, data: PretrainData, photos: np.ndarray, tiles: np.ndarray, size: int, guesses: int) -> None:
        views = data.photos.shape[1]
        self.pictures, self.guesses = size - guesses, guesses
        self.tile_points, self.texts = data.tile_points, data.texts
        self.photo_points = data.points.repeat(views, axis=0)
        own = np.arange(len(data.points)) - (len(data.points) - len(data.tile_points))
        self.photo_own = own.clip(-1).repeat(views)
        self.photo_tokens, self.tile_tokens = photos, tiles
        self.photos, self.tiles = embeddings(photos), embeddings(tiles)
        self.index = ExactIndex.build(self.tiles, COMPONENTS)
        found, _ = self.index.search(self.photos, TOPK + 1)
        is_other = found != self.photo_own[:, None]
        is_other[is_other.all(1), -1] = False
        self.found = found[is_other].reshape(-1, TOPK)
        self.tree = cKDTree(unit_vectors(*data.tile_points.T))
        sample = np.linspace(0, len(self.photos) - 1, 1000).astype(int)
        similarity, match = (
            np.concatenate(values)
            for values in zip(*(self.compare(photo, self.found[photo]) for photo in sample), strict=True)
        )
        self.spread = similarity.mean(0), similarity.std(0)  # (2,) each
        self.match_spread = match.mean(), match.std()
        self.tile_ground = token_ground(data.tile_points, np.broadcast_to([0.0, 1.0], data.tile_points.shape))

    def draw(self, rng: np.random.Generator, with_negatives: bool, with_texts: bool) -> PhotoGroup:
        """A group of a random photo; in one of five only three candidates are retrieved ones, as in a curriculum."""
        photo = int(rng.integers(len(self.photo_points)))
        point, own, found = self.photo_points[photo], self.photo_own[photo], self.found[photo]
        retrieved = self.pictures - 1 if rng.random() < 0.8 else 3
        pool = TOPN if rng.random() < 0.7 else TOPK
        tiles = found[rng.choice(pool, retrieved, replace=False)].tolist()
        region = self.tree.query(unit_vectors(*point), k=min(REGION, len(self.tiles)))[1]
        while len(tiles) < self.pictures:
            tile = int((region[rng.integers(5)], rng.choice(region), rng.integers(len(self.tiles)))[rng.integers(3)])
            if tile != own and tile not in tiles:
                tiles.append(tile)
        shown = with_texts and rng.random() < 0.9
        candidates = [self.candidate(tile, shown) for tile in tiles]
        candidates += [Candidate(*draw_guess(point, rng), source="generation") for _ in range(self.guesses)]
        negatives = [self.candidate(tile, True) for tile in found[-NUM_NEGATIVES:]] if with_negatives else []
        places = np.array([(candidate.latitude, candidate.longitude) for candidate in candidates])
        query = Query(f"photo {photo}", tuple(candidates), tuple(negatives), *point.tolist())
        similarity, match = self.compare(photo, tiles)
        ground = self.tile_ground[tiles]  # (pictures, tokens, 3)
        token_km = ground_km(unit_vectors(*point)[None], ground.reshape(-1, 3)).reshape(ground.shape[:2])
        return PhotoGroup(query, places, haversine_km(*point, *places.T), similarity, match, token_km)

    def compare(self, photo: int, tiles: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """``similarity`` (tiles, 2) and ``match`` (tiles, tokens, tokens) of a photo and tiles, see ``PhotoGroup``."""
        own, others = (
            F.normalize(torch.from_numpy(np.array(array)).float(), dim=-1)
            for array in (self.photo_tokens[photo], self.tile_tokens[tiles])
        )
        cosines = torch.einsum("id,kjd->ikj", own, others)  # (tokens, tiles, tokens)
        late = late_interaction(cosines[None])[0]
        similarity = np.stack([self.tiles[tiles] @ self.photos[photo], late.numpy()], axis=1)
        return similarity, cosines.permute(1, 2, 0).numpy()

    def candidate(self, tile: int, with_texts: bool = True) -> Candidate:
        return Candidate(*self.tile_points[tile].tolist(), self.texts[tile] if with_texts else (), f"tile {tile}")


def draw_guess(point: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """A place 10 to 8,000 km from ``point``, uniform in the logarithm, to 0.1 degrees, as the LVLM words it."""
    angle = np.exp(rng.uniform(np.log(10), np.log(8000))) / EARTH_RADIUS_KM
    vector = unit_vectors(*point)
    aside = np.cross(vector, rng.normal(size=3))
    x, y, z = vector * np.cos(angle) + aside / np.linalg.norm(aside) * np.sin(angle)
    return float(np.degrees(np.arcsin(np.clip(z, -1, 1))).round(1)), float(np.degrees(np.arctan2(y, x)).round(1))


def shown(queries: list[Query], photos: Tokens) -> tuple[list[Query], dict]:
    """The queries with the photos that their prompts show."""
    ids = dict.fromkeys(
        image_id
        for query in queries
        for image_id in (query.image, *(candidate.image for candidate in query.candidates))
        if image_id is not None
    )
    return queries, {image_id: photos[image_id] for image_id in ids}
