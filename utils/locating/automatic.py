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
NOTHING = """{photo} {what}, and nothing on this machine finds places for photographs. \
Any of these does; each downloads once:
{install}    python quick_start.py --image {photo} --retriever geoclip
        GeoCLIP's points, of which the likely ones vote; CLIP ViT-L/14 (1.7 GB); a CPU will do
    python quick_start.py --image {photo} --generate 3 --model Qwen/Qwen2-VL-2B-Instruct
        guesses of a small model, which vote (4.4 GB); slow on a CPU. Or --model_name and --base_url of a server
    {clone}
    python quick_start.py --image {photo} --retriever geoclip --generate 3 --model_path published/checkpoints
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
    if Path(BENCHMARKS["earth"].model).is_dir():
        choices = _of_earth(demand)
        judge = choices.judge(device)
        if _are_tiles(photos, judge.ranker):
            return choices, judge
    retriever = "geoclip" if is_available() else None
    if model_name is not None:
        server = {"model_name": model_name, "base_url": base_url}
        return Choices(retriever=retriever, generate=GUESSES, demand=demand, **server), None
    if retriever is not None:
        return Choices(retriever=retriever, demand=demand), None
    what = "has few tiles of the embedded world" if folder.is_dir() else "is no tile of the embedded world"
    install = "" if package_folder() else f"    {INSTALL}\n"
    raise ValueError(NOTHING.format(photo=shlex.quote(str(photo)), what=what, install=install, clone=CLONE))


def _of_earth(demand: Demand | None) -> Choices:
    """The shipped adapter, with its world's gallery if that is built."""
    earth = BENCHMARKS["earth"]
    index = Path(earth.gallery_index)
    built = (index / "index.json").exists() and Path(earth.image_data_path).exists()
    gallery = {"index": index, "image_data_path": earth.image_data_path} if built else {}
    return Choices(earth.model, earth.model_path, generate=GUESSES, demand=demand, known_only=True, **gallery)


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
