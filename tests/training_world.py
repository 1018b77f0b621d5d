"""GeoRanking rows of random places, and training runs of finetune_geo_ranker.py on them."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

import finetune_geo_ranker
from utils.photos.store import ImageStore
from utils.photos.tar_index_pickle import write_tar_index
from utils.training.checkpoints import find_checkpoint
from utils.training.georanking import GeoRankingRow, read_georanking, write_georanking

REFERENCES = 10


def build_training_world(folder: Path) -> Path:
    """train.parquet (16 rows), val.parquet (4), photos/ and gallery.csv; a photo's colour tells its place."""
    (folder / "photos").mkdir()
    generator = np.random.default_rng(0)

    def place_photo(name: str, latitude: float, longitude: float) -> tuple[float, float]:
        colour = [(latitude + 90) / 180 * 255, (longitude + 180) / 360 * 255, 128]
        Image.new("RGB", (16, 16), tuple(int(value) for value in colour)).save(folder / "photos" / name)
        return (latitude, longitude)

    rows, lines = [], ["IMG_ID,LAT,LON,city,state,country"]
    for number in range(20):
        point = (round(generator.uniform(-80, 80), 2), round(generator.uniform(-170, 170), 2))
        query = place_photo(f"query_{number}.png", *point)
        spreads = np.resize([2, 60, 8, 30], REFERENCES)
        offsets = generator.normal(0, 1, (REFERENCES, 2)) * spreads[:, None]
        nearby = np.clip(np.array(query) + offsets, [-89, -179], [89, 179]).round(2).tolist()
        ids = [f"gallery_{number}_{position}.png" for position in range(REFERENCES)]
        for image_id, (latitude, longitude) in zip(ids, nearby, strict=True):
            place_photo(image_id, latitude, longitude)
            lines.append(f"{image_id},{latitude},{longitude},Town,,Land")
        texts = [["Town", "Land"]] * (1 + REFERENCES)
        guesses = [(float(number), 10.0), (float(-number), 20.0)]
        references = [query, *map(tuple, nearby)]
        rows.append(
            GeoRankingRow(f"query_{number}.png", query, references, [f"query_{number}.png", *ids], texts, guesses)
        )
    write_georanking(folder / "train.parquet", rows[:16])
    write_georanking(folder / "val.parquet", rows[16:])
    (folder / "gallery.csv").write_text("\n".join(lines) + "\n")
    return folder


def build_broken_jpegs(world: Path, folder: Path) -> list[str]:
    """train.parquet and its photos in a tar: 4 broken, whose names are returned, as queries and as candidates."""
    rows, _ = read_georanking(world / "train.parquet")
    broken = [rows[2].img_id, rows[7].img_id, rows[3].ref_img_id[1], rows[5].ref_img_id[2]]
    rows[4].ref_img_id[1] = broken[3]  # a photo that two rows show
    rows[6].ref_img_id[1:5] = [broken[2]] * 4  # leaves one candidate
    write_georanking(folder / "train.parquet", rows)
    store = ImageStore.from_paths([world / "photos"])
    with tarfile.open(folder / "photos.tar", "w") as tar:
        for image_id in dict.fromkeys(name for row in rows for name in (row.img_id, *row.ref_img_id)):
            file = io.BytesIO()
            store.open(image_id).resize((64, 64)).save(file, "JPEG")
            data = file.getvalue()
            if image_id in broken:
                data = data[: len(data) // 2]
            member = tarfile.TarInfo(image_id)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    write_tar_index(folder / "photos.tar", folder / "tar_index.pkl")
    return broken


def arguments(world: Path, base: Path, output: Path, **settings) -> list[str]:
    """A command line: quick and exact settings, changed and completed by ``settings``; "" is a switch."""
    defaults = {
        "model_path": base,
        "model_save_path": output,
        "dataset": world / "train.parquet",
        "image_path": world / "photos",
        "dtype": "float32",
        "num_workers": 0,
        "logging_steps": 1,
        "learning_rate": 0.005,
        "seed": 1,
    }
    pairs = ((f"--{name}", str(value)) for name, value in (defaults | settings).items())
    return [part for pair in pairs for part in pair if part]


def train(world: Path, base: Path, output: Path, **settings) -> list[dict]:
    """Run the script in this process; returns what it logged at each step."""
    assert finetune_geo_ranker.main(arguments(world, base, output, **settings)) == 0
    return logged(output)


def logged(output: Path) -> list[dict]:
    history = json.loads((find_checkpoint(output) / "trainer_state.json").read_text())["log_history"]
    return [entry for entry in history if "loss" in entry]


def losses(entries: list[dict]) -> list[float]:
    return [entry["loss"] for entry in entries]
