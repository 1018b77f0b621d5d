"""The queue on a small Earth; its commands run in this process, as imports take most of their time."""

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import evaluate
import finetune_geo_ranker
from earth.studies import ablation_queue, ablations
from earth.studies.ablation_results import Result, append_result, read_results
from earth.studies.ablation_runs import BASELINE, SETTINGS, TRAINING
from earth.world import splits
from utils.candidates import prompt_texts
from utils.geography.gazetteer import TEXT_COLUMNS
from utils.geography.geodesy import haversine_km
from utils.jobs.files import atomic_path
from utils.model.adapter_info import AdapterInfo
from utils.tables.candidate_table import CandidateRow, write_candidate_table
from utils.tables.metadata import read_metadata
from utils.training.georanking import GeoRankingRow, write_georanking

ROOT = Path(__file__).parents[3]
QUERIES = 6
ONLY = ["--only", "baseline", "candidates_8", "no_images", "--seeds", "7"]
THREE = [("baseline", 7), ("no_images", 7), ("candidates_8", 7)]  # the queue's order


@pytest.fixture(scope="module")
def data(tmp_path_factory, few_resamples) -> Path:
    """A small Earth with rows to train on and candidate tables: a photo's references are the tiles nearest to it."""
    folder = tmp_path_factory.mktemp("earth")
    splits.build(folder, (40, 1, 16, 3, QUERIES), seed=0, workers=1)
    gallery = read_metadata(folder / "gallery" / "metadata.csv")
    points = gallery[["LAT", "LON"]].to_numpy()
    rows = {"train": [], "val": [], "test": []}
    for split, made in rows.items():
        for photo in read_metadata(folder / split / "metadata.csv").itertuples():
            query = (photo.LAT, photo.LON)
            near = np.argsort(haversine_km(*query, *points.T))[:20]
            places, ids = list(map(tuple, points[near].tolist())), gallery["IMG_ID"].iloc[near].tolist()
            guesses = [(photo.LAT / 2, photo.LON), (photo.LAT, photo.LON / 2), (0.5, 0.5)]
            if split == "train":
                texts = [[], *(list(prompt_texts(gallery.iloc[i])) for i in near)]
                made.append(GeoRankingRow(photo.IMG_ID, query, [query, *places], [photo.IMG_ID, *ids], texts, guesses))
            else:
                texts = [[gallery.iloc[i][column] for column in TEXT_COLUMNS] for i in near]
                similarity = np.linspace(0.9, 0.1, 20).tolist()
                made.append(CandidateRow(photo.IMG_ID, *query, places, texts, ids, similarity, zs_gps=guesses))
    write_georanking(folder / "train" / "georanking.parquet", rows["train"])
    for split in ("val", "test"):
        write_candidate_table(folder / split / "candidates.csv", rows[split])
    return folder


class Calls(list):
    """What the queue executes, as (script, flags). A test may hook into it by ``before``."""

    def before(self, script: str, flags: dict) -> None:
        pass

    def execute(self, script: str, flags: dict, switches: Sequence[str], log: Path, lock: int) -> None:
        """``ablation_queue.execute``, but in this process."""
        self.append((script, flags))
        self.before(script, flags)
        words = [word for name, value in flags.items() for word in (f"--{name}", value)] + list(switches)
        with open(log, "w") as file, contextlib.redirect_stdout(file):
            assert {"evaluate.py": evaluate, "finetune_geo_ranker.py": finetune_geo_ranker}[script].main(words) == 0


@pytest.fixture
def calls(monkeypatch) -> Calls:
    made = Calls()
    monkeypatch.setattr(ablation_queue, "execute", made.execute)
    return made


def run_queue(data: Path, model: Path, folder: Path, *flags: str) -> int:
    """Exit code of the command, with a budget of one step."""
    paths = {"data": data, "model_path": model, "results": folder / "r.jsonl", "run": folder / "run"}
    words = [str(word) for name, path in paths.items() for word in (f"--{name}", path)]
    return ablations.main([*words, "--steps", "1", *flags])


@pytest.fixture
def queue(data, tiny_base, tmp_path) -> Callable[..., int]:
    """``queue(*flags)``: exit code of the command, in a folder of the test's own."""
    return partial(run_queue, data, tiny_base, tmp_path)


@pytest.fixture(scope="module")
def finished(data, tiny_base, tmp_path_factory) -> tuple[Path, Calls, str]:
    """A queue that has done all of THREE: its folder, what it executed, and what it said."""
    folder, made, said = tmp_path_factory.mktemp("finished"), Calls(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(said):
        patch.setattr(ablation_queue, "execute", made.execute)
        assert run_queue(data, tiny_base, folder, *ONLY) == 0
    return folder, made, said.getvalue()


def lines(tmp_path: Path) -> dict[tuple[str, int], Result]:
    return {(result.setting, result.seed): result for result in read_results(tmp_path / "r.jsonl")}


def timeless(result: Result) -> Result:
    return replace(result, seconds={})


def test_every_run_adds_a_line_that_says_what_its_evaluation_says(finished):
    folder, calls, said = finished
    found = lines(folder)
    assert list(found) == THREE
    adapters = [Path(flags["model_path"]) for script, flags in calls if script == "evaluate.py"]
    trained = [flags for script, flags in calls if script == "finetune_geo_ranker.py"]
    assert len(trained) == 2, "candidates_8 uses the baseline's adapter"
    assert adapters[0] == adapters[4] != adapters[2]
    assert [flags.get("omit") for flags in trained] == [None, "images"]
    assert AdapterInfo.load(adapters[2]).omit == ("images",)
    rewards = (Path(adapters[0]).parent / "val-12-3" / "rewards.0.jsonl").read_text().split("\n")
    assert len(list(filter(None, rewards))) == 3, "the second evaluation of the same adapter scores nothing anew"
    for number, result in enumerate(found.values()):
        assert (result.budget, len(result.base), result.seed) == (1, 12, 7)
        _, flags = calls[[2, 5, 7][number]]
        report = json.loads(Path(flags["output_dir"], "metrics.json").read_text())
        assert flags["split"] == report["split"] == "test"
        assert report["mean_candidates"] == (8 if result.setting == "candidates_8" else 12) + 3
        assert result.temperature == pytest.approx(AdapterInfo.load(adapters[2 * number]).temperature, abs=1e-4)
        assert result.calibration_error == pytest.approx(report["calibration_error"], abs=1e-4)
        errors = pd.read_csv(Path(flags["output_dir"], "predictions.csv"))["error_km"]
        assert len(result.errors_km) == QUERIES
        assert (np.array(result.errors_km) <= errors).all()
        assert (np.array(result.errors_km) > errors - 1).all()
        assert set(result.test) == {"model", "model_consensus", "similarity", "retrieval", "oracle"}
        for km in (25, 200, 750, 2500):
            within = 100 * np.mean([error < km for error in result.errors_km])
            assert result.test["model"]["accuracy"][str(km)] == pytest.approx(within, abs=0.01)
            low, high = result.test["oracle"]["accuracy_ci95"][str(km)]
            assert low <= result.test["oracle"]["accuracy"][str(km)] <= high
    assert [result.seconds["training"] is None for result in found.values()] == [False, False, True]
    assert "candidates_8, seed 7 (1 of 3 left, 0.0 h)" in said


def test_what_is_done_is_listed_and_not_done_again(finished, calls, data, tiny_base, capsys):
    folder, _, _ = finished
    assert run_queue(data, tiny_base, folder, *ONLY) == 0
    assert calls == []
    assert run_queue(data, tiny_base, folder, "--list", "--seeds", "7") == 0
    listed = capsys.readouterr().out.splitlines()
    assert len(listed) == len(SETTINGS)
    assert [line.split()[0] for line in listed if not line.endswith("not run")] == [name for name, _ in THREE]


def test_an_interrupted_queue_goes_on(finished, queue, calls, tmp_path, monkeypatch):
    """Stopped in a training, it trains again; stopped in an evaluation, it keeps the adapter and the rewards."""
    two = ["--only", "baseline", "no_images", "--seeds", "7"]
    whole = {run: result for run, result in lines(finished[0]).items() if run in THREE[:2]}

    def stop_at(count: int):
        def before(script, flags):
            if len(calls) == count:
                if script == "finetune_geo_ranker.py":
                    with atomic_path(Path(flags["model_save_path"], "adapter_model.safetensors")) as path:
                        path.write_bytes(b"of a training that never finished")
                raise KeyboardInterrupt

        return before

    for count in (4, 7):  # in the second training, which is then the fifth call; in the second run's test
        monkeypatch.setattr(calls, "before", stop_at(count))
        assert queue(*two) == 130
        assert list(lines(tmp_path)) == THREE[:1]
    monkeypatch.setattr(calls, "before", stop_at(0))
    assert queue(*two) == 0
    trained = [flags.get("omit") for script, flags in calls if script == "finetune_geo_ranker.py"]
    assert trained == [None, "images", "images"]
    assert {run: timeless(result) for run, result in lines(tmp_path).items()} == {
        run: timeless(result) for run, result in whole.items()
    }


def test_a_run_that_fails_does_not_stop_the_queue(queue, calls, tmp_path, monkeypatch, capsys):
    def before(script, flags):
        if flags.get("omit") == "images":
            raise ablation_queue.RunError("finetune_geo_ranker.py exited with 1: out of luck (all of it: x.log)")

    monkeypatch.setattr(calls, "before", before)
    assert queue("--only", "no_images", "no_texts", "--seeds", "7") == 1
    assert list(lines(tmp_path)) == [("no_texts", 7)]
    assert "problem: no_images, seed 7: finetune_geo_ranker.py exited with 1: out of luck" in capsys.readouterr().err


def test_runs_that_another_queue_has_are_left_to_it(queue, calls, tmp_path, monkeypatch, capsys):
    def before(script, flags):
        if len(calls) == 1:
            assert queue("--only", "baseline", "--seeds", "7") == 0
        raise ablation_queue.RunError("enough seen")

    monkeypatch.setattr(calls, "before", before)
    assert queue("--only", "baseline", "--seeds", "7") == 1
    assert len(calls) == 1
    assert "another queue is at it" in capsys.readouterr().err


def test_runs_that_another_queue_held_for_a_while_are_not_forgotten(queue, calls, tmp_path, monkeypatch):
    """Settings that share an adapter share its lock, too: the other queue may end with another setting than this."""
    free, asked = ablation_queue.taken, []

    @contextlib.contextmanager
    def taken(folder):
        asked.append(folder)
        if len(asked) == 1:
            yield None
        else:
            with free(folder) as lock:
                yield lock

    monkeypatch.setattr(ablation_queue, "taken", taken)
    assert queue("--only", "baseline", "candidates_8", "--seeds", "7") == 0
    assert list(lines(tmp_path)) == [("candidates_8", 7), ("baseline", 7)]
    assert len(set(asked)) == 1


def test_another_base_recipe_or_budget_needs_another_results_file(queue, calls, data, tmp_path, tiny_base):
    own = ablation_queue.Queue(data, tiny_base, tmp_path, 1)
    for kind in ((own.base, own.recipe, 2), ("another", own.recipe, 1), (own.base, "another", 1)):
        (tmp_path / "r.jsonl").unlink(missing_ok=True)
        append_result(tmp_path / "r.jsonl", Result("K_3", "K", 0, *kind, {}, "today", {}, 1.0, 0.1, {}, {}, []))
        with pytest.raises(SystemExit, match=r"r.jsonl would mix runs that cannot be compared"):
            queue("--only", "baseline", "--seeds", "7")
    assert calls == []


def test_missing_data_are_named(queue, calls, tmp_path):
    with pytest.raises(SystemExit, match=r"nowhere/test/candidates.csv does not exist"):
        queue("--data", str(tmp_path / "nowhere"))
    with pytest.raises(SystemExit, match=r"model.safetensors does not exist"):
        queue("--model_path", str(tmp_path))


def test_names_and_steps_are_checked(queue, capsys):
    for flags, message in (
        (["--only", "colour"], "invalid choice: 'colour'"),
        (["--steps", "0"], "argument --steps: 0"),
    ):
        with pytest.raises(SystemExit):
            queue(*flags)
        assert message in capsys.readouterr().err


def test_execute_reports_the_last_line_of_a_script_that_fails(tmp_path):
    script, log = tmp_path / "script.py", tmp_path / "log"
    script.write_text("import sys\nprint(sys.argv[1:])\nsys.exit('no\\nluck')\n")
    with (
        ablation_queue.taken(tmp_path) as lock,
        pytest.raises(ablation_queue.RunError, match=r"script.py exited with 1: luck \(all of it: .*log\)"),
    ):
        ablation_queue.execute(str(script), {"K": "all"}, ["--calibrate"], log, lock)
    assert log.read_text().splitlines() == ["['--K', 'all', '--calibrate']", "no", "luck"]


def test_a_command_that_outlives_its_queue_keeps_the_folder(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)\n")
    log = tmp_path / "log"
    code = (
        "import sys\nfrom pathlib import Path\nfrom earth.studies.ablation_queue import execute, taken\n"
        "folder, script, log = map(Path, sys.argv[1:])\n"
        "with taken(folder) as lock:\n    execute(script, {}, (), log, lock)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, tmp_path / "folder", script, log], cwd=ROOT)
    deadline = time.monotonic() + 120
    while not (log.exists() and log.read_text().endswith("\n")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    child = int(log.read_text())
    try:
        with ablation_queue.taken(tmp_path / "folder") as lock:
            assert lock is None
    finally:
        os.kill(child, signal.SIGKILL)
    while time.monotonic() < deadline:
        with ablation_queue.taken(tmp_path / "folder") as lock:
            if lock is not None:
                break
        time.sleep(0.02)
    assert lock is not None


def test_settings_are_commands_that_the_scripts_take(tmp_path):
    """Each differs from the baseline, and none from another one; the shared flags are those of docs/workflow.md."""
    queue = ablation_queue.Queue(write_needed(tmp_path), tmp_path, tmp_path / "run", 250)
    commands = []
    for setting in SETTINGS:
        flags = queue.training_flags(setting, 1) | {"model_save_path": "out"}
        words = [word for name, value in flags.items() for word in (f"--{name}", value)]
        args = finetune_geo_ranker.parse_arguments(words)
        assert args.max_steps == 250 * setting.length
        flags = queue.evaluation_flags("test", setting, setting.topn, tmp_path)
        evaluated = evaluate.parse_arguments([word for name, value in flags.items() for word in (f"--{name}", value)])
        commands.append((words, evaluated.topn, evaluated.topn_zs))
        shared = setting == BASELINE or setting.question == "candidates at test time"
        assert (queue.folder(setting, 1) == queue.folder(BASELINE, 1)) == shared
    assert all(commands.count(command) == 1 for command in commands)
    assert len({setting.name for setting in SETTINGS}) == len(SETTINGS)
    recipe = (ROOT / "docs" / "workflow.md").read_text().split("python finetune_geo_ranker.py", 1)[1].split("```")[0]
    documented = dict(re.findall(r"--(\w+) ([^\s\\]+)", recipe))
    same = TRAINING.keys() & documented.keys() - {"num_workers", "logging_steps", "warmup_steps"}
    assert len(same) == 11
    assert {name: TRAINING[name] for name in same} == {name: documented[name] for name in same}


@pytest.mark.parametrize("changed", ["model.safetensors", *ablation_queue.NEEDED])
def test_another_base_model_or_world_trains_anew(tmp_path, changed):
    folders, features = set(), set()
    for content in (b"first", b"second"):
        write_needed(tmp_path)
        (tmp_path / changed).write_bytes(content)
        queue = ablation_queue.Queue(tmp_path, tmp_path, tmp_path / "run", 250)
        folders.add(queue.folder(BASELINE, 0))
        features.add(queue.features)
    assert len(folders) == 2
    # A cache of features sees to another base model itself.
    assert len(features) == (1 if changed == "model.safetensors" else 2)


def write_needed(folder: Path) -> Path:
    """Fill ``folder`` with what identifies base model and data."""
    for name in ("model.safetensors", *ablation_queue.NEEDED):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"anything")
    return folder


def test_lines_of_queues_at_the_same_time_do_not_mix(tmp_path):
    result = Result("baseline", "q", 0, "b", "r", 1, {}, "today", {}, 1.0, 0.1, {}, {}, list(range(1000)))
    code = (
        "import sys\nfrom earth.studies.ablation_results import Result, append_result\n"
        "for seed in range(20):\n"
        "    append_result(sys.argv[1], Result(sys.argv[2], 'q', seed, 'b', 'r', 1, {}, 'today', {}, 1.0, 0.1, {}, {},"
        " list(range(1000))))\n"
    )
    path = tmp_path / "r.jsonl"
    others = [subprocess.Popen([sys.executable, "-c", code, path, name], cwd=ROOT) for name in ("one", "two")]
    for seed in range(20):
        append_result(path, replace(result, seed=seed))
    assert [process.wait() for process in others] == [0, 0]
    assert sorted((found.setting, found.seed) for found in read_results(path)) == [
        (name, seed) for name in ("baseline", "one", "two") for seed in range(20)
    ]
