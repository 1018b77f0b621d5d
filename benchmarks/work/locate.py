"""Photos located in new processes and in warm ones, for ``benchmarks.locate``."""

import contextlib
import io
import os
import runpy
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from transformers import CLIPConfig, CLIPModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from benchmarks.fresh import Outcome, in_fresh_process
from benchmarks.inputs import save_photo
from benchmarks.presets import EARTH, EARTH_ADAPTER, EARTH_BASE, TEST_PHOTOS
from utils.jobs.progress import progress_bar
from utils.locator import Locator

Clock = Literal["wall", "processor"]
PHOTOS = 4  # located by each process: the first one, and those of which the median is the warm time


@dataclass(frozen=True)
class Case:
    """What locates, as ``Locator.from_pretrained`` takes it and as flags of ``quick_start.py``; and which photos."""

    choices: Mapping[str, Any]
    flags: str
    photos: Sequence[str]


def cases(names: Sequence[str], clip: str | None, folder: Path) -> dict[str, Case]:
    """Those of ``names``, with what they need made in ``folder``."""
    tiles = [str(TEST_PHOTOS / f"test_{number:06}.jpg") for number in range(PHOTOS)]
    base, adapter = {"model": EARTH_BASE}, {"model_path": EARTH_ADAPTER}
    gallery = {"index": EARTH.gallery_index, "image_data_path": EARTH.image_data_path}
    found = {  # where it needs no flags, quick_start.py recognises a tile and takes the same
        "ranker, gallery, guesses": Case({**base, **adapter, **gallery, "generate": 3}, "", tiles),
        "ranker, gallery": Case({**base, **adapter, **gallery}, _flags({**adapter, **gallery}), tiles),
        "guesses": Case({**base, "generate": 3}, _flags({**base, "generate": 3}), tiles),
    }
    if "geoclip" in names:
        geoclip = {"retriever": "geoclip", "clip": clip or str(random_clip(folder / "clip"))}
        found["geoclip"] = Case(geoclip, _flags(geoclip), synthetic_photos(folder / "photos"))
    return {name: found[name] for name in names}


def _flags(choices: Mapping[str, Any]) -> str:
    return " ".join(f"--{name} {value}" for name, value in choices.items())


def random_clip(folder: Path) -> Path:
    """A CLIP in the shape of openai/clip-vit-large-patch14, with random weights: 1.7 GB."""
    vision = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
    vision |= {"patch_size": 14, "image_size": 224}
    text = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    torch.manual_seed(0)
    CLIPModel(CLIPConfig(vision_config=vision, text_config=text, projection_dim=768)).save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": 224}, crop_size={"height": 224, "width": 224}).save_pretrained(folder)
    return folder


def synthetic_photos(folder: Path) -> list[str]:
    random = np.random.default_rng(0)
    paths = [folder / f"{number}.jpg" for number in range(PHOTOS)]
    for path in paths:
        save_photo(path, (1024, 768), random)
    return [str(path) for path in paths]


def measured(names: Sequence[str], clip: str | None, repeats: int, clock: Clock) -> list[dict[str, Any]]:
    """All figures of each case, for JSON."""
    about = {"repeats": repeats, "clock": clock, "cores": os.cpu_count(), "date": time.strftime("%Y-%m-%d")}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        own = {"XDG_CACHE_HOME": str(folder / "cache")}  # empty: what fills it is told apart
        chosen = cases(names, clip, folder)
        return [
            {"case": case_name, **figures(case, repeats, clock, own, folder), **about}
            for case_name, case in progress_bar(chosen.items(), unit="case")
        ]


def figures(case: Case, repeats: int, clock: Clock, environment: Mapping[str, str], folder: Path) -> dict[str, float]:
    """Medians of ``repeats`` processes after a first one; results of the command go into ``folder``."""

    def seconds_of(outcome: Outcome) -> float:
        return outcome.seconds if clock == "wall" else outcome.processor_seconds

    runs = []
    for _ in range(1 + repeats):
        asked = {"choices": dict(case.choices), "photos": list(case.photos), "clock": clock}
        outcome = in_fresh_process(locate, environment, **asked)
        seconds = outcome.returned
        runs.append(
            {
                "cold_seconds": seconds_of(outcome) - sum(seconds["further"]),
                "load_seconds": seconds["load"],
                "first_photo_seconds": seconds["first"],
                "warm_seconds": statistics.median(seconds["further"]),
                "peak_mib": outcome.peak_mib,
            }
        )
    first, *others = runs
    found = {name: statistics.median(run[name] for run in others) for name in first}
    written = ["--output", str(folder / "ranking.json"), "--map", str(folder / "map.png")]
    words = ["--image", str(Path(case.photos[0]).absolute()), *case.flags.split(), *written]
    commands = [in_fresh_process(quick_start, environment, words=words) for _ in range(repeats)]
    return found | {
        "once_seconds": first["cold_seconds"] - found["cold_seconds"],
        "command_seconds": statistics.median(map(seconds_of, commands)),
        "command_mib": statistics.median(outcome.peak_mib for outcome in commands),
    }


def locate(choices: dict[str, Any], photos: list[str], clock: Clock) -> dict[str, Any]:
    """Seconds of loading, of the first photo and of each further one; in a process of its own."""
    now = time.perf_counter if clock == "wall" else time.process_time
    times = [now()]
    locator = Locator.from_pretrained(**choices)
    times.append(now())
    for photo in photos:
        locator.locate(photo)
        times.append(now())
    load, first, *further = np.diff(times).tolist()
    return {"load": load, "first": first, "further": further}


def quick_start(words: list[str]) -> None:
    """The script with these arguments, in a process of its own; what it prints is dropped."""
    sys.argv = ["quick_start.py", *words]
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            runpy.run_path("quick_start.py", run_name="__main__")
    except SystemExit as ended:
        if ended.code:
            raise ValueError(f"quick_start.py {' '.join(words)}: {ended.code}") from None
