"""The ablation queue: what a run trains and evaluates, and how several queues share the runs."""

import hashlib
import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path

import pandas as pd

from earth.recipe import TOPN
from earth.studies.ablation_results import Result, append_result, check_comparable, read_results
from earth.studies.ablation_runs import TRAINING, Setting
from utils.data_paths import check_files
from utils.geography.geodesy import THRESHOLDS_KM
from utils.jobs.files import write_json
from utils.jobs.locks import InUse, alone_in
from utils.jobs.outputs import check_outputs

logger = logging.getLogger(__name__)

SCRIPTS = Path(__file__).parents[2]
# The rankers of a report that a result holds.
RANKERS = ("model", "model_consensus", "similarity", "retrieval", "oracle")
NEEDED = ("train/georanking.parquet", "val/candidates.csv", "test/candidates.csv")  # of the built benchmark


class RunError(Exception):
    """A command of a run failed."""


@dataclass(frozen=True)
class Queue:
    """What all runs have in common."""

    data: Path  # the built benchmark
    model_path: Path  # base model
    root: Path  # folder for adapters, logs and features
    steps: int  # the budget, training steps

    def training_flags(self, setting: Setting, seed: int) -> dict[str, str]:
        """All flags of finetune_geo_ranker.py but the folder that it writes to."""
        gallery, train = self.data / "gallery", self.data / "train"
        return {
            "model_path": str(self.model_path),
            "dataset": str(train / "georanking.parquet"),
            "image_path": str(train / "images"),
            "image_data_path": str(gallery / "images.tar"),
            "gallery": str(gallery / "metadata.csv"),
            "feature_cache": str(self.features),
            "jpeg_quality": "0",  # in the published layout too, whose runs differ from the others in nothing else
            **TRAINING,
            **setting.flags,
            "max_steps": str(self.steps * setting.length),
            "seed": str(seed),
        }

    def evaluation_flags(self, split: str, setting: Setting, topn: int, adapter: Path) -> dict[str, str]:
        """The flags of evaluate.py but the folder that it writes to."""
        gallery, queries = self.data / "gallery", self.data / split
        return {
            "dataset": "earth",
            "split": split,
            "candidates": str(queries / "candidates.csv"),
            "image_path": str(queries / "images"),
            "image_data_path": str(gallery / "images.tar"),
            "gallery": str(gallery / "metadata.csv"),
            "train_metadata": str(self.data / "train" / "metadata.csv"),
            "feature_cache": str(self.features),
            "model": str(self.model_path),
            "model_path": str(adapter),
            "topn": str(topn),
            "topn_zs": str(setting.topn_zs),
        }

    def folder(self, setting: Setting, seed: int) -> Path:
        """Where a training and its evaluations go: another folder for every base model, data and command."""
        made_of = f"{self.base} {self.recipe} {self.training_flags(setting, seed)}"
        digest = hashlib.sha256(made_of.encode()).hexdigest()
        return self.root / f"{setting.training}-{digest[:8]}" / f"seed-{seed}"

    @property
    def features(self) -> Path:
        """Of the photos of these data: a cache knows a photo by its path alone."""
        return self.root / "features" / self.recipe

    @cached_property
    def base(self) -> str:
        """The start of the SHA-256 of the base model's weights."""
        return hashlib.sha256((self.model_path / "model.safetensors").read_bytes()).hexdigest()[:12]

    @cached_property
    def recipe(self) -> str:
        """The start of the SHA-256 of TRAINING and of the rows and queries that all runs have."""
        digest = hashlib.sha256(json.dumps(TRAINING).encode())
        for name in NEEDED:
            digest.update((self.data / name).read_bytes())
        return digest.hexdigest()[:12]

    @property
    def kind(self) -> tuple[str, str, int]:
        """``Result.kind`` of its runs."""
        return self.base, self.recipe, self.steps


def execute(script: str, flags: dict[str, str], switches: Sequence[str], log: Path, lock: int) -> None:
    """Run a script of the checkout, what it prints going into ``log``.

    It inherits the file ``lock``: should it outlive this process, its folder stays taken. Raises ``RunError``.
    """
    words = [word for name, value in flags.items() for word in (f"--{name}", value)]
    with open(log, "w") as file:
        command = [sys.executable, str(SCRIPTS / script), *words, *switches]
        code = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, pass_fds=[lock]).returncode
    if code:
        last = log.read_text(errors="replace").strip().splitlines()[-1:]
        raise RunError(f"{script} exited with {code}: {''.join(last)} (all of it: {log})")


@contextmanager
def taken(folder: Path) -> Iterator[int | None]:
    """Keep other queues off ``folder``; yields the file that does so, or None where another one is at work."""
    with ExitStack() as held:
        try:
            lock = held.enter_context(alone_in(folder))
        except InUse as error:
            logger.info("  another queue is at it: %s", error)
            lock = None
        yield lock


def run(queue: Queue, setting: Setting, seed: int, folder: Path, lock: int) -> Result:
    """Train, unless the adapter is there, calibrate and evaluate. Raises ``RunError``."""
    # Its own folder: an evaluation whose adapter folder has changed would not go on where it was interrupted.
    adapter = folder / "adapter"
    finished = folder / "training.json"
    seconds: dict[str, float | None] = {"training": None}
    if not finished.exists():
        start = time.monotonic()
        flags = queue.training_flags(setting, seed) | {"model_save_path": str(adapter)}
        execute("finetune_geo_ranker.py", flags, (), folder / "training.log", lock)
        seconds["training"] = round(time.monotonic() - start, 1)
        write_json(finished, seconds)
    start = time.monotonic()
    # The temperature belongs to the adapter: it is fitted with as many retrieved candidates as ever.
    reports = {}
    for split, topn, switches in (("val", TOPN, ["--calibrate"]), ("test", setting.topn, [])):
        output = folder / f"{split}-{topn}-{setting.topn_zs}"
        flags = queue.evaluation_flags(split, setting, topn, adapter) | {"output_dir": str(output)}
        execute("evaluate.py", flags, switches, folder / f"{output.name}.log", lock)
        reports[split] = json.loads((output / "metrics.json").read_text(encoding="utf-8"))
    seconds["evaluation"] = round(time.monotonic() - start, 1)
    return Result(
        setting=setting.name,
        question=setting.question,
        seed=seed,
        base=queue.base,
        recipe=queue.recipe,
        budget=queue.steps,
        changes=dict(setting.flags) | {"length": setting.length, "topn": setting.topn, "topn_zs": setting.topn_zs},
        date=date.today().isoformat(),
        seconds=seconds,
        temperature=round(reports["test"]["temperature"], 4),
        calibration_error=round(reports["test"]["calibration_error"], 4),
        validation=figures(reports["val"]),
        test=figures(reports["test"]),
        errors_km=pd.read_csv(output / "predictions.csv")["error_km"].astype(int).tolist(),
    )


def figures(report: dict) -> dict[str, dict]:
    """What a result holds of an evaluation's metrics.json: accuracies with their intervals, to two decimals.

    Not within 1 km: Earth's coordinates are no more exact than that.
    """
    return {
        ranker: {
            "accuracy": {str(km): round(own["accuracy"][str(km)], 2) for km in THRESHOLDS_KM[1:]},
            "accuracy_ci95": {
                str(km): [round(end, 2) for end in own["accuracy_ci95"][str(km)]] for km in THRESHOLDS_KM[1:]
            },
        }
        for ranker, own in report["rankers"].items()
        if ranker in RANKERS
    }


def hours_left(queue: Queue, pending: Sequence[tuple[Setting, int]], results: Sequence[Result]) -> float | None:
    """What the runs still take if they are as fast as those before, None where nothing is known of that."""
    trained = [r.seconds["training"] / r.changes["length"] for r in results if r.seconds["training"] is not None]
    if not trained:
        return None
    training = sum(trained) / len(trained)
    evaluation = sum(result.seconds["evaluation"] for result in results) / len(results)
    folders = {queue.folder(setting, seed): setting.length for setting, seed in pending}
    budgets = sum(length for folder, length in folders.items() if not (folder / "training.json").exists())
    return (budgets * training + len(pending) * evaluation) / 3600


def unfinished(queue: Queue, runs: Sequence[tuple[Setting, int]], path: Path) -> list[tuple[Setting, int]]:
    """Those of ``runs`` that have no line in ``path``; ``ValueError`` where the queue's would not fit to the others."""
    results = read_results(path)
    check_comparable(path, {result.kind for result in results} | {queue.kind})
    done = {(result.setting, result.seed) for result in results}
    return [(setting, seed) for setting, seed in runs if (setting.name, seed) not in done]


def attempt(queue: Queue, setting: Setting, seed: int, path: Path) -> Result | None:
    """Do a run and add its line to ``path``, or None where another queue is at it or was faster.

    Raises ``RunError``.
    """
    folder = queue.folder(setting, seed)
    with taken(folder) as lock:
        if lock is None or not unfinished(queue, [(setting, seed)], path):
            return None
        result = run(queue, setting, seed, folder, lock)
        append_result(path, result)
    return result


def work(queue: Queue, runs: Sequence[tuple[Setting, int]], path: Path) -> list[str]:
    """Do those of ``runs`` that have no line in ``path`` yet; returns what failed."""
    check_files([("data", queue.data / name) for name in NEEDED])
    check_outputs([("--results", path)], [("--run", queue.root)])
    failed: dict[str, str] = {}
    again = True
    while again:  # as long as something was done: what another queue held meanwhile may be free, and not done
        again = False
        for setting, seed in runs:
            name = f"{setting.name}, seed {seed}"
            pending = unfinished(queue, runs, path)
            if (setting, seed) not in pending or name in failed:
                continue
            left = hours_left(queue, pending, read_results(path))
            logger.info("%s (%d of %d left%s)", name, len(pending), len(runs), f", {left:.1f} h" if left else "")
            try:
                result = attempt(queue, setting, seed, path)
            except RunError as error:
                failed[name] = f"{name}: {error}"
                logger.info("  failed: %s", error)
                again = True
                continue
            if result:
                logger.info("  %s", summary(result))
                again = True
    return list(failed.values())


def summary(result: Result) -> str:
    accuracy = result.test["model"]["accuracy"]
    return f"{accuracy['25']:.1f} / {accuracy['200']:.1f}% within 25 / 200 km, {result.date}"
