"""Queries and photo files to measure with: Earth's own test queries, or synthetic ones of a given size."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from transformers import PreTrainedTokenizerBase

from benchmarks.presets import GALLERY_PHOTOS, TEST_CANDIDATES, TEST_PHOTOS
from utils.candidates import NUM_NEGATIVES, Candidate, Query
from utils.model.batch import EncodedImage
from utils.model.packing import Packer
from utils.model.prompts import ChatFrame, negative_examples, question
from utils.photos.store import ImageStore
from utils.tables.candidate_table import read_candidate_table

# Tokens of Qwen2's tokenizer: the question with names of a place and the end of the prompt, five negative examples.
QUESTION_TOKENS, NEGATIVE_TOKENS = 48, 164

Inputs = tuple[list[Query], ImageStore, ImageStore]  # queries, their photos, the gallery's photos


def earth_inputs(count: int, candidates: int, generated: int) -> Inputs:
    """The first so many test queries of the Earth data. Raises ``FileNotFoundError`` where they are not built."""
    queries, _ = read_candidate_table(TEST_CANDIDATES, candidates, generated)
    photos = ImageStore.from_paths([TEST_PHOTOS]), ImageStore.from_paths([GALLERY_PHOTOS])
    return queries[:count], *photos


def synthetic_inputs(
    folder: Path,
    tokenizer: PreTrainedTokenizerBase,
    *,
    count: int,
    candidates: int,
    generated: int,
    photo: tuple[int, int],
    candidate_photo: tuple[int, int],
) -> Inputs:
    """Queries with JPEG files in ``folder``, every photo another one, sizes (width, height) in pixels.

    Texts are as long, in tokens of ``tokenizer``, as a prompt's parts are in Qwen2's. Generated candidates have
    neither names nor photos, as in the published tables.
    """
    random = np.random.default_rng(0)

    def length(text: str) -> int:
        return len(tokenizer(text, add_special_tokens=False)["input_ids"])

    def place() -> Candidate:
        latitude, longitude = np.round(random.uniform((-90, -180), (90, 180)), 4).tolist()
        return Candidate(latitude, longitude, ("a",))

    def named(candidate: Candidate, text: Callable[[Candidate], str], tokens: int) -> Candidate:
        # Every further " a" is one more token.
        return replace(candidate, texts=("a",) * max(1, 1 + tokens - length(text(candidate))))

    def candidate(number: int, position: int) -> Candidate:
        if position >= candidates:
            return replace(place(), texts=(), source="generation")
        end = length(ChatFrame.of(tokenizer).tail)
        image = f"{number}_{position}.jpg"
        save_photo(folder / "gallery" / image, candidate_photo, random)
        return replace(named(place(), question, QUESTION_TOKENS - end), image=image)

    def query(number: int) -> Query:
        save_photo(folder / "queries" / f"{number}.jpg", photo, random)
        *others, last = (place() for _ in range(NUM_NEGATIVES))
        last = named(last, lambda negative: negative_examples([*others, negative]), NEGATIVE_TOKENS)
        shown = tuple(candidate(number, position) for position in range(candidates + generated))
        return Query(f"{number}.jpg", shown, (*others, last))

    queries = [query(number) for number in range(count)]
    return queries, ImageStore.from_paths([folder / "queries"]), ImageStore.from_paths([folder / "gallery"])


def encode(
    inputs: Inputs, packer: Packer, candidate_packer: Packer | None = None
) -> tuple[list[Query], dict[str, EncodedImage]]:
    """Every photo once, and the queries with the names under which it is found: both stores may use the same one.

    ``candidate_packer``: encodes candidates' photos; default: ``packer``.
    """
    of_candidates = candidate_packer or packer
    queries, photos, gallery = inputs
    images = {f"query {query.image}": packer.encode(photos.open(query.image)) for query in queries}
    shown = {candidate.image for query in queries for candidate in query.candidates} - {None}
    images |= {name: of_candidates.encode(gallery.open(name)) for name in sorted(shown)}
    return [replace(query, image=f"query {query.image}") for query in queries], images


def save_photo(path: Path, size: tuple[int, int], random: np.random.Generator) -> None:
    """A JPEG of random smooth shapes with some noise: about as costly to decode as a photo of its size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = Image.fromarray(random.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC), dtype=np.int16)
    noisy = smooth + random.integers(-12, 13, smooth.shape)
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path, quality=90)
