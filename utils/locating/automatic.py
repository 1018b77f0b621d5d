"""What locates photos best of all that is on this machine, where nobody says what should."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from utils.answer import Demand
from utils.data_paths import BENCHMARKS, CLONE
from utils.geo_ranker import GeoRanker
from utils.locating.choices import Choices
from utils.locating.judging import Judge
from utils.photos.formats import list_photos
from utils.photos.images import ImageError, open_image
from utils.retrieval.geoclip_files import INSTALL, is_available, package_folder

GUESSES = 3
EXAMINED = 16  # photos of a folder whose content is looked at

# Sizes are those of the weights, 2 bytes a parameter for the language models.
NOTHING = """nothing on this machine finds places for photographs. \
Any of these does; each downloads once:
{install}    {run} --retriever geoclip
        GeoCLIP's points, of which the likely ones vote; CLIP ViT-L/14 (1.7 GB); a CPU will do
    {run} --generate 3 --model Qwen/Qwen2-VL-2B-Instruct
        guesses of a small model, which vote (4.4 GB); slow on a CPU. Or --model_name and --base_url of a server
    {clone}
    {run} --retriever geoclip --generate 3 --model_path published/checkpoints
        both, ranked by the published GeoRanker (1.7 GB, and 16.6 GB of Qwen2-VL-7B); a GPU with 24 GB"""


def choose(
    photo: str | os.PathLike,
    model_name: str | None = None,
    base_url: str | None = None,
    demand: Demand | None = None,
    device: str | None = None,
) -> tuple[Choices, Judge | None]:
    """For a photo, or for those of a folder; ``model_name`` guesses behind a server at ``base_url``, if there is one.

    With the choices comes their judge, where it had to be loaded to make them.

    Tiles of the embedded world, which the shipped adapter tells by their content, are ranked by it, with that world's
    gallery if it is built; so is a folder most of whose photos are such tiles, and the others get no answer. Other
    photos get a vote of GeoCLIP's points, where its encoder is on this machine, and of the server's guesses.

    Raises ``ValueError`` where there is neither, which says what to do, and ``ImageError`` where no photo can be read.
    """
    folder = Path(photo)
    photos = [folder / name for name in list_photos(folder).photos[:EXAMINED]] if folder.is_dir() else [folder]
    tiles = of_tiles(demand)
    if tiles is not None:
        judge = tiles.judge(device)
        if _are_tiles(photos, judge.ranker):
            return tiles, judge
    photographs = of_photographs(model_name, base_url, demand)
    if photographs is None:
        what = "has few tiles" if folder.is_dir() else "does not look like a tile"
        remedy = nothing(f"python quick_start.py --image {shlex.quote(str(photo))}")
        raise ValueError(f"{photo} {what} of the embedded world, and {remedy}")
    return photographs, None


def of_tiles(demand: Demand | None = None) -> Choices | None:
    """What locates tiles of the embedded world, and nothing else; None where the shipped base is not there."""
    earth = BENCHMARKS["earth"]
    if not Path(earth.model).is_dir():
        return None
    index = Path(earth.gallery_index)
    built = (index / "index.json").exists() and Path(earth.image_data_path).exists()
    gallery = {"index": index, "image_data_path": earth.image_data_path} if built else {}
    return Choices(earth.model, earth.model_path, generate=GUESSES, demand=demand, known_only=True, **gallery)


def of_photographs(
    model_name: str | None = None, base_url: str | None = None, demand: Demand | None = None
) -> Choices | None:
    """What locates any photo, as ``choose`` has it; None where there is nothing."""
    retriever = "geoclip" if is_available() else None
    if model_name is not None:
        server = {"model_name": model_name, "base_url": base_url}
        return Choices(retriever=retriever, generate=GUESSES, demand=demand, **server)
    return None if retriever is None else Choices(retriever=retriever, demand=demand)


def nothing(run: str) -> str:
    """That nothing locates photographs, and what would; ``run`` is the command that gets the flags."""
    install = "" if package_folder() else f"    {INSTALL}\n"
    return NOTHING.format(run=run, install=install, clone=CLONE)


def _are_tiles(photos: Sequence[Path], ranker: GeoRanker) -> bool:
    """Whether most of the readable photos are like those that the shipped adapter was calibrated on."""
    known, errors = [], []
    for photo in photos:
        try:
            known.append(ranker.knows(open_image(photo)))
        except ImageError as error:
            errors.append(error)
    if not known:
        raise errors[0]
    return sum(known) > len(known) / 2
