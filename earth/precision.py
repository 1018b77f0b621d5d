"""How exactly does a ranker have to compare? What the tower sees, blurred by noise, ranks the validation photos.

    python -m earth.precision

Cosine of the embeddings and late interaction of the image tokens rank the first POOL retrieved tiles, plain and with
Gaussian noise of a given mean square, in units of the variance over all those tiles. A language model that says either
with such an error, and knows nothing else, ranks as well as the line of its error. The errors in the log of
earth.pretrain_language (`cosine`, `overlap`) are about the same thing: their unit is the variance over the first TOPK
tiles of training photos.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from transformers import Qwen2VLForConditionalGeneration

from earth.build_dataset import DEFAULT_DIR
from earth.pretrain_tower import compare
from utils.command import run_command
from utils.images import ImageStore
from utils.metrics import accuracy
from utils.tables import read_metadata

ERRORS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2)
DRAWS = 20
WITHIN_KM = (25, 200)


def blurred_accuracy(scores: np.ndarray, km: np.ndarray, error: float, rng: np.random.Generator) -> np.ndarray:
    """Accuracy (percent, WITHIN_KM) of the highest of ``scores`` with noise, the mean of DRAWS; scores, km: (n, k)."""
    spread = scores.std() * error**0.5
    found = []
    for _ in range(DRAWS):
        picks = (scores + rng.normal(scale=spread, size=scores.shape)).argmax(1)
        found.append(accuracy(km[np.arange(len(km)), picks], WITHIN_KM))
    return np.mean(found, axis=0)


def study(args: argparse.Namespace) -> list[str]:
    """Print the table."""
    gallery = read_metadata(args.data / "gallery" / "metadata.csv")
    store = ImageStore.from_paths([args.data / "gallery" / "images.tar"])
    tiles = np.stack([np.asarray(store.open(name)) for name in gallery["IMG_ID"]])
    model = Qwen2VLForConditionalGeneration.from_pretrained(args.model)
    model.set_attn_implementation({"vision_config": "tile_attention"})
    seen = compare(model, tiles, gallery[["LAT", "LON"]].to_numpy(float), args.data)
    print("mean square error   cosine, 25 / 200 km   late interaction, 25 / 200 km")
    for error in ERRORS:
        rng = np.random.default_rng(args.seed)
        cells = [blurred_accuracy(scores, seen.km, error, rng) for scores in (seen.cosine, seen.late)]
        print(f"{error:17}   " + "          ".join(f"{near:9.1f} / {far:.1f}" for near, far in cells))
    near, far = accuracy(seen.km.min(1), WITHIN_KM)
    print(f"oracle {near:.1f} / {far:.1f}")
    return []


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", type=Path, default=DEFAULT_DIR, help="the built benchmark (%(default)s)")
    add("--model", type=Path, default=Path("checkpoints/earth-base"), help="(%(default)s)")
    add("--seed", type=int, default=0, help="of the noise (%(default)s)")
    args = parser.parse_args(arguments)
    return run_command(lambda: study(args))


if __name__ == "__main__":
    sys.exit(main())
