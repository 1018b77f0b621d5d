"""The published sample: a photo of IM2GPS3K with its first ten retrieved candidates, beside the published rewards.

Edit the constants below and run `python quick_start_im2gps3k.py`, or give the flags of the same names:

    python quick_start_im2gps3k.py --model_path path_to_lora
    python quick_start_im2gps3k.py --model_path path_to_lora --query another_image_id.jpg

The candidates with their place names and the query's negative examples come from its row of the candidate table,
and the prompt is that of the evaluation. For the sample no table is needed: where dataset/README.md's is missing and
none is named, its row is read from dataset/im2gps3k_sample.csv, a part of this repository. What is needed then are the
photos: the sample and its ten candidates in --image_path and --image_data_path, which may be folders.

This is a check of a whole installation. For the published sample on the published base, Qwen2-VL-7B-Instruct by
hub name or from any folder, the rewards must be the published ones within TOLERANCE; the exit code is 1 where they
are not. That is right for the released adapter and means nothing for one of your own. On another base both are
only shown side by side, and another query has no published rewards. The exit code is also 1 where a candidate
could not be read, which is then named.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from utils.cli.command import run_command
from utils.cli.flags import add_device, add_gallery_photos, script_parser, set_default_paths
from utils.data_paths import check_files

if TYPE_CHECKING:
    from utils.candidates import Candidate
    from utils.geo_ranker import GeoRanker

SAMPLE = "103433117_266c57c2e6_29_73293249@N00.jpg"
# Its row, which the published script has among its constants: candidate_gps_lis, and gt_lat, gt_lon as LAT, LON.
SAMPLE_TABLE = Path(__file__).parent / "dataset" / "im2gps3k_sample.csv"

# ---- edit here, or use the flags ----
QUERY = SAMPLE  # IMG_ID in the candidate table
CANDIDATES = None  # candidate table; None: where dataset/README.md puts it, without that SAMPLE_TABLE for the sample
IMAGE_PATH = None  # folder of the query photos; None, here and below: where dataset/README.md puts it
IMAGE_DATA_PATH = None  # tar, zip or folder of the gallery photos
TAR_INDEX_PATH = None  # index of the tar
MODEL = None  # base model: hub name or folder; None: the published one
MODEL_PATH = None  # adapter folder

# ---- published ----
REWARDS = (-6.84, -6.66, -7.28, -7.16, -4.13, -6.72, -6.53, -5.09, -4.34, -6.88)  # in the order of the table
BEST, BEST_KM = (44.173955, 6.697883), 223.77  # the best candidate, and how far it is from the truth
BASE = ("qwen2_vl", 28, 3584)  # type, layers and hidden size of Qwen2-VL-7B-Instruct
# The published rewards are bfloat16 numbers rounded to two digits: between 4 and 8 these lie 1/32 apart, as their 8
# significant bits have it, so that rounding errs by 1/32/sqrt(12) (root mean square). Each of the 28 layers adds twice
# to the hidden state and rounds it; 56 such errors, independent, make sqrt(56)/32/sqrt(12) = 0.07. The tolerance is 3.7
# times that. An estimate: not measured on the 7B weights.
TOLERANCE = 0.25

logger = logging.getLogger("scripts")


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__)
    add = parser.add_argument
    add("--query", default=QUERY, help="IMG_ID in the candidate table; default: %(default)s")
    add(
        "--candidates",
        default=CANDIDATES,
        help="candidate table (CSV); default: that of dataset/README.md if it is there, else the sample's own row",
    )
    add("--image_path", default=IMAGE_PATH, help="folder of the query photos; default: see dataset/README.md")
    add_gallery_photos(add, default=IMAGE_DATA_PATH)
    parser.set_defaults(tar_index_path=TAR_INDEX_PATH)
    add("--model", default=MODEL, help="base model: hub name or folder")
    add("--model_path", default=MODEL_PATH, help="adapter folder, released or ours")
    add_device(add)
    args = parser.parse_args(arguments)
    args.dataset, args.split = "im2gps3k", None
    named = args.candidates
    set_default_paths(args, parser)
    if named is None and args.query == SAMPLE and not Path(args.candidates).exists():
        args.candidates = str(SAMPLE_TABLE)
    if args.model_path is None:
        parser.error("--model_path is missing: the folder of an adapter")
    return args


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_arguments(arguments)
    return run_command(lambda: rank(args), quiet=args.quiet)


def rank(args: argparse.Namespace) -> list[str]:
    """Rank the sample and print it; returns the problems."""
    names = ("candidates", "image_path", "image_data_path", "tar_index_path")
    files = [(name, getattr(args, name)) for name in names]
    check_files([*files, ("model_path", Path(args.model_path, "adapter_config.json"))])

    logger.info("candidates: %s", args.candidates)
    from utils.geo_ranker import GeoRanker
    from utils.geography.geodesy import geodesic_km
    from utils.locating.task import benchmark_task, readable_options

    task = benchmark_task(args.query, **{name: getattr(args, name) for name in names}, topn=len(REWARDS), topn_zs=0)
    options, photos = readable_options(task)
    listed, candidates = ([option.candidate for option in part] for part in (task.options, options))
    ranker = GeoRanker.from_pretrained(args.model, args.model_path, device=args.device)
    images = {place.image: photo for place, photo in zip(candidates, photos, strict=True) if photo is not None}
    places = ranker.rank(task.photo.image, candidates, task.negatives, images=images)
    rewards = {listed.index(place.candidate): place.reward for place in places}

    problems = list(task.problems)
    published = None
    if args.query == SAMPLE:
        if is_published(listed):
            published = {number: REWARDS[number] for number in rewards}
        else:
            problems.append(f"{args.candidates}: the first candidates of {SAMPLE} are not the published ones")

    truth = task.truth
    best = places[0].candidate
    distance = float(geodesic_km(*truth, best.latitude, best.longitude))
    print(f"{args.query}, taken at {truth[0]:.6f}, {truth[1]:.6f}\n")
    print_candidates(listed, rewards, published)
    print(f"\nBest: {best.latitude:.6f}, {best.longitude:.6f}, {distance:.2f} km from the truth")
    if published is not None:
        print(f"Published: {BEST[0]}, {BEST[1]}, {BEST_KM} km from the truth")
        problems += compare(rewards, published, is_published_base(ranker))
    return problems


def is_published(candidates: "Sequence[Candidate]") -> bool:
    """Whether the candidates are those whose rewards were published; the best one tells."""
    if len(candidates) != len(REWARDS):
        return False
    best = candidates[REWARDS.index(max(REWARDS))]
    return max(abs(best.latitude - BEST[0]), abs(best.longitude - BEST[1])) < 1e-5


def is_published_base(ranker: "GeoRanker") -> bool:
    text = ranker.backbone.language_model.config
    return (ranker.backbone.config.model_type, text.num_hidden_layers, text.hidden_size) == BASE


def print_candidates(
    candidates: "Sequence[Candidate]", rewards: dict[int, float], published: dict[int, float] | None
) -> None:
    """One line for each candidate that has a reward, in the order of the table; the best is starred."""
    from utils.geography.place_names import place_names

    heading = f"{'published':>11}{'difference':>12}" if published is not None else ""
    print(f"{'':>4}{'latitude':>12}{'longitude':>12}{'reward':>9}{heading}  place")
    names = place_names(
        [(candidate.latitude, candidate.longitude) for candidate in candidates],
        [candidate.texts for candidate in candidates],
    )
    for number, reward in sorted(rewards.items()):
        candidate, star = candidates[number], "*" if reward == max(rewards.values()) else ""
        theirs = f"{published[number]:>11.2f}{reward - published[number]:>+12.2f}" if published is not None else ""
        print(
            f"{star + str(number + 1):>4}{candidate.latitude:>12.6f}{candidate.longitude:>12.6f}{reward:>9.2f}"
            f"{theirs}  {names[number]}"
        )


def compare(rewards: dict[int, float], published: dict[int, float], same_base: bool) -> list[str]:
    """Say whether the rewards agree with the published ones; a problem where they must and do not."""
    differences = [abs(rewards[number] - published[number]) for number in rewards]
    agree = all(difference <= TOLERANCE for difference in differences)  # NaN does not
    message = (
        f"the rewards {'agree' if agree else 'do not agree'} with the published ones within bfloat16 rounding: "
        f"the largest difference is {max(differences):.2f}, the tolerance {TOLERANCE}"
    )
    if same_base and not agree:
        return [f"{message}; with the released adapter they should"]
    print(message[0].upper() + message[1:] + ("" if same_base else "; another base model, other rewards"))
    return []


if __name__ == "__main__":
    sys.exit(main())
