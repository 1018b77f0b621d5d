"""The long jobs of the scripts in miniature: how each is started, what it leaves, and what of that must be equal."""

import base64
import hashlib
import io
import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import load_file

from tests.loopback import Response, completion
from tests.training_world import arguments as training_arguments
from tests.training_world import build_training_world
from tests.world import build_world, flags


@dataclass(frozen=True)
class Job:
    """A command whose results lie in a folder of their own."""

    script: str
    arguments: Callable[[Path], list[str]]  # of the folder
    results: Callable[[Path], Mapping[str, object]]  # in the folder; equal after whatever happened
    again: Callable[[Path], list[str]] | None = None  # the arguments that go on, where they are others
    settings: Mapping[str, int] = field(default_factory=dict)


def contents(*names: str) -> Callable[[Path], Mapping[str, bytes]]:
    return lambda folder: {name: (folder / name).read_bytes() for name in names}


def arrays(folder: Path) -> Mapping[str, bytes]:
    return {path.name: np.load(path).tobytes() for path in sorted(folder.glob("*.npy"))}


def adapter(folder: Path) -> Mapping[str, bytes]:
    tensors = load_file(folder / "adapter_model.safetensors")
    return {name: np.round(values.astype(np.float64), 6).tobytes() for name, values in tensors.items()}


def build_jobs(folder: Path, base: Path, url: str) -> dict[str, Job]:
    """The jobs by name, on invented data in ``folder``; that of generation asks the server at ``url``."""
    world, training = folder / "world", folder / "training"
    build_world(world, base)
    training.mkdir()
    build_training_world(training)
    own = folder / "own"
    own.mkdir()
    random = np.random.default_rng(1)
    for number in range(8):
        Image.fromarray(random.integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(own / f"own{number}.png")
    questions = folder / "questions"
    (questions / "images").mkdir(parents=True)
    lines = ["IMG_ID,LAT,LON"]
    for number in range(24):
        Image.new("RGB", (16, 16), (10 * number, 128, 128)).save(questions / "images" / f"{number}.png")
        lines.append(f"{number}.png,{number},{number}")
    (questions / "metadata.csv").write_text("\n".join(lines) + "\n")

    gallery = ["--gallery", str(world / "gallery.csv"), "--image_data_path", str(world / "gallery.tar")]
    index = folder / "index"
    build = ["build", *gallery, "--model", str(base), "--device", "cpu", "--num_workers", "0", "--batch_size", "2"]
    locate = ["--image", str(own), "--index", str(index), "--image_data_path", str(world / "gallery.tar")]
    locate += ["--model", str(base), "--model_path", str(world / "adapter"), "--device", "cpu", "--topn", "3"]
    ask = ["--model_name", "m", "--base_url", url, "--api_key", "sk-test", "--num_samples", "2", "--timeout", "2"]
    ask += ["--root_path", str(questions), "--text_path", "metadata.csv", "--image_path", "images", "--process", "4"]
    score = ["--topn", "3", "--topn_zs", "1", "--max_tokens", "1", "--num_workers", "0", "--num_queries", "5"]

    def train(output: Path) -> list[str]:
        settings = {"save_steps": 1, "per_device_train_batch_size": 1, "total_batch_size": 4, "lora_r": 2}
        return training_arguments(training, base, output / "trained", **settings)

    return {
        "evaluate": Job(
            "evaluate",
            # One candidate a batch, so that rewards do not depend on what else is left to do.
            lambda output: [*flags(world, base), *score, "--output_dir", str(output)],
            contents("predictions.csv"),
        ),
        "quick_start": Job(
            "quick_start",
            lambda output: [*locate, "--locations", str(output / "locations.csv")],
            contents("locations.csv", "locations.geojson"),
        ),
        "retrieve": Job(
            "retrieve_candidates",
            lambda output: [*build, "--index", str(output / "index")],
            lambda output: arrays(output / "index"),
            settings={"utils.retrieval.gallery_embeddings.SHARD": 3},
        ),
        "lvlm": Job(
            "lvlm_zs_predict",
            lambda output: [*ask, "--result_path", str(output / "generation.csv")],
            contents("generation.csv"),
        ),
        "finetune": Job(
            "finetune_geo_ranker",
            train,
            lambda output: adapter(output / "trained"),
            again=lambda output: [*train(output), "--continue_ckpt_path", "latest"],
        ),
    }


class Oracle:
    """A server's answers, which depend on the photo alone; ``fault`` may spoil a response before it is sent."""

    def __init__(self) -> None:
        self.asked: Counter[int] = Counter()
        self.fault: Callable[[Response], Response] = lambda response: response
        self._lock = threading.Lock()

    def __call__(self, body: Mapping, _: int) -> Response:
        url = body["messages"][0]["content"][1]["image_url"]["url"]
        red = Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGB").getpixel((8, 8))[0]
        number = round(red / 10)
        with self._lock:
            self.asked[number] += 1
            digest = int(hashlib.sha256(str(number).encode()).hexdigest(), 16)
            place = json.dumps({"latitude": digest % 80 + 0.5, "longitude": digest % 170 + 0.25})
            return self.fault(completion(place, "not sure"))
