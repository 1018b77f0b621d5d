"""A benchmark of random photos, as evaluate.py and quick_start.py read it, and a random adapter."""

import tarfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from tests.tiny_models import save_adapter
from utils.geo_ranker import GeoRanker
from utils.model.adapter import add_lora
from utils.model.adapter_info import AdapterInfo
from utils.photos.tar_index_pickle import write_tar_index
from utils.tables.candidate_table import CandidateRow, write_candidate_table

QUERIES = 10
GALLERY = 12
RETRIEVED = 6
GENERATED = 2


def build_world(folder: Path, base: Path) -> None:
    """Into ``folder``: photos/, gallery.tar, tar_index.pkl, candidates.csv, gallery.csv and adapter/."""
    generator = np.random.default_rng(0)
    (folder / "photos").mkdir(parents=True)
    (folder / "gallery").mkdir()

    def photo(path: Path) -> None:
        width, height = generator.integers(16, 40, 2)
        Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path, quality=90)

    def points(count: int) -> list[tuple[float, float]]:
        # Around one place, so that accuracies at all thresholds differ between rankers.
        return [(float(lat), float(lon)) for lat, lon in np.array([46.0, 7.0]) + generator.normal(0, 3, (count, 2))]

    places = points(GALLERY)
    for number in range(GALLERY):
        photo(folder / "gallery" / f"g{number}.jpg")
    with tarfile.open(folder / "gallery.tar", "w") as tar:
        for number in range(GALLERY):
            tar.add(folder / "gallery" / f"g{number}.jpg", f"g{number}.jpg")
    write_tar_index(folder / "gallery.tar", folder / "tar_index.pkl")
    lines = [f"g{number}.jpg,{lat},{lon}" for number, (lat, lon) in enumerate(places)]
    (folder / "gallery.csv").write_text("\n".join(["IMG_ID,LAT,LON", *lines]) + "\n")

    rows = []
    for number in range(QUERIES):
        photo(folder / "photos" / f"q{number}.jpg")
        found = generator.permutation(GALLERY)[:RETRIEVED]
        rows.append(
            CandidateRow(
                f"q{number}.jpg",
                *points(1)[0],
                gps=[places[i] for i in found],
                texts=[["", f"town {i}", "", "state", "", "Country"] for i in found],
                images=[f"g{i}.jpg" for i in found],
                similarity=generator.uniform(0, 1, RETRIEVED).tolist(),
                zs_gps=points(GENERATED),
            )
        )
    write_candidate_table(folder / "candidates.csv", rows)

    with torch.random.fork_rng():
        torch.manual_seed(0)
        adapted = add_lora(GeoRanker.from_pretrained(base, device="cpu"), r=2)
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                torch.nn.init.normal_(parameter, std=0.3)
    save_adapter(adapted, folder / "adapter", AdapterInfo(str(base), layout="negatives_first"))


def flags(folder: Path, base: Path) -> list[str]:
    """The flags that name the world's files."""
    return [
        *("--candidates", str(folder / "candidates.csv"), "--image_path", str(folder / "photos")),
        *("--image_data_path", str(folder / "gallery.tar"), "--model", str(base)),
        *("--model_path", str(folder / "adapter"), "--device", "cpu"),
    ]
