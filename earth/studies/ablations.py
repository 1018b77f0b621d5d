"""The paper's questions, answered on Earth: a queue of short trainings with equal budget, and their evaluation.

    python -m earth.studies.ablations              # all settings of ablation_runs.py, three seeds, most telling first
    python -m earth.studies.ablations --list       # what is done, and what is not
    python -m earth.studies.ablations --only baseline no_images --seeds 0
    python -m earth.studies.ablation_table         # the results as a table

A run trains an adapter (finetune_geo_ranker.py), fits its temperature on the validation queries, and reports on the
test queries (evaluate.py); it adds one line to the results file, and is skipped where that has its line. Settings that
differ in evaluation only share the baseline's adapters. The same command goes on after an interruption: a training that
was under way starts anew, an evaluation at its next query. Several of these commands may work on one queue: each takes
runs that no other has. A run that fails is reported with its log, and the next one starts.

Adapters, logs and the tower's features of all photos, which are computed once, go into --run.
"""

import argparse
import fcntl
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path

import pandas as pd

from earth.build_dataset import DEFAULT_DIR
from earth.studies.ablation_runs import SETTINGS, TOPN, TRAINING, Setting
from earth.studies.ablation_table import RESULTS, Result, append_result, check_comparable, read_results
from utils.cli.command import run_command
from utils.data_paths import check_files
from utils.geography.geodesy import THRESHOLDS_KM
from utils.jobs.files import write_json

SCRIPTS = Path(__file__).parents[1]
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
            "gallery_metadata": str(gallery / "metadata.csv"),
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
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield file.fileno()


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
        if lock is None:
            print("  another queue is at it", flush=True)
            return None
        if not unfinished(queue, [(setting, seed)], path):
            return None
        result = run(queue, setting, seed, folder, lock)
        append_result(path, result)
    return result


def work(queue: Queue, runs: Sequence[tuple[Setting, int]], path: Path) -> list[str]:
    """Do those of ``runs`` that have no line in ``path`` yet; returns what failed."""
    check_files([("data", queue.data / name) for name in NEEDED])
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
            print(f"{name} ({len(pending)} of {len(runs)} left" + (f", {left:.1f} h)" if left else ")"), flush=True)
            try:
                result = attempt(queue, setting, seed, path)
            except RunError as error:
                failed[name] = f"{name}: {error}"
                print(f"  failed: {error}", flush=True)
                again = True
                continue
            if result:
                print(f"  {summary(result)}", flush=True)
                again = True
    return list(failed.values())


def summary(result: Result) -> str:
    accuracy = result.test["model"]["accuracy"]
    return f"{accuracy['25']:.1f} / {accuracy['200']:.1f}% within 25 / 200 km, {result.date}"


def print_list(runs: Sequence[tuple[Setting, int]], results: Sequence[Result]) -> None:
    done = {(result.setting, result.seed): summary(result) for result in results}
    width = max(len(setting.name) for setting, _ in runs)
    for setting, seed in runs:
        print(f"{setting.name:{width}}  seed {seed}  {done.get((setting.name, seed), 'not run')}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    names = [setting.name for setting in SETTINGS]
    add("--only", nargs="+", choices=names, default=names, metavar="NAME", help="these settings; see --list")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2], help="(0 1 2)")
    add("--list", action="store_true", help="print what is done and what is not, and do nothing")
    add("--steps", type=int, default=250, help="training steps of 16 groups that every run has (%(default)s)")
    add("--data", type=Path, default=DEFAULT_DIR, help="the built benchmark (%(default)s)")
    add("--model_path", type=Path, default=Path("checkpoints/earth-base"), help="base model (%(default)s)")
    add("--results", type=Path, default=Path(RESULTS), help="one line a run (%(default)s)")
    add("--run", type=Path, default=Path("runs/ablations"), help="adapters, logs and features (%(default)s)")
    args = parser.parse_args()
    if args.steps < 1:
        parser.error(f"--steps is {args.steps}: it is at least 1")
    runs = [(setting, seed) for setting in SETTINGS if setting.name in args.only for seed in args.seeds]

    def start() -> list[str]:
        if args.list:
            print_list(runs, read_results(args.results))
            return []
        return work(Queue(args.data, args.model_path, args.run, args.steps), runs, args.results)

    return run_command(start)


if __name__ == "__main__":
    raise SystemExit(main())
