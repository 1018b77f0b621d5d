import importlib.util
import json
import os
import re
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import evaluate
from tests.cases import random_cases
from tests.forks import ended, kill, launch, run_script, start
from tests.loopback import free_port
from tests.naive import naive_rewards
from tests.released import merged_by_hand, saved_as_jpeg, write_adapter
from tests.world import GENERATED, QUERIES, RETRIEVED, build_world, flags
from utils.calibration import Sources
from utils.decoding import WITHOUT_RANKER as VOTES
from utils.evaluation import by_ranker
from utils.evaluation.fit_calibration import fit_decoders
from utils.evaluation.reward_log import RewardLog
from utils.geo_ranker import GeoRanker
from utils.model.adapter_info import AdapterInfo
from utils.model.budget import MAX_TOKENS
from utils.photos.store import ImageStore
from utils.tables.candidate_table import read_candidate_table
from utils.tables.metadata import gallery_hash
from utils.vote_calibration import VoteCalibration

TOP = ["--topn", str(RETRIEVED), "--topn_zs", str(GENERATED)]


@pytest.fixture(scope="session")
def shared_world(tmp_path_factory, tiny_base):
    folder = tmp_path_factory.mktemp("world")
    build_world(folder, tiny_base)
    return folder


@pytest.fixture
def world(shared_world, tmp_path):
    """A copy that a test may spoil."""
    return Path(shutil.copytree(shared_world, tmp_path / "world"))


@pytest.fixture
def run(monkeypatch, tiny_base):
    """``run(world, output, *flags)``: exit code of evaluate.py in this process, and metrics.json."""

    def run(world, output, *extra):
        command = [*flags(world, tiny_base), *TOP, "--num_workers", "0", "--output_dir", str(output), *extra]
        monkeypatch.setattr(sys, "argv", ["evaluate.py", *command])
        code = evaluate.main()
        return code, json.loads((output / "metrics.json").read_text())

    return run


def killed_after(count, command):
    """evaluate.py that is killed when it has logged so many queries: no other moment is the same on every machine."""
    remaining, append = count, RewardLog.append

    def append_and_die(log, query, rewards):
        nonlocal remaining
        append(log, query, rewards)
        remaining -= 1
        if remaining == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    RewardLog.append = append_and_die
    run_script(command)


def script(world, base, output, *extra):
    """The command of evaluate.py as a process of its own, which has another read photos."""
    return ["evaluate.py", *flags(world, base), *TOP, "--num_workers", "1", "--output_dir", str(output), *extra]


def log_lines(output):
    return [line for path in output.glob("rewards.*.jsonl") for line in path.read_text().splitlines() if line]


def assert_same_report(first, second):
    """Equal but for rounding in the rewards, which batches of other sizes may bring."""
    first, second = ({k: v for k, v in report.items() if k != "settings"} for report in (first, second))
    error = first.pop("calibration_error"), second.pop("calibration_error")
    assert error[0] == pytest.approx(error[1], abs=1e-4)
    assert first == second


def test_rewards_are_those_of_the_ranker(world, run, tmp_path, tiny_base):
    """End to end against GeoRanker.rank, one query at a time."""
    code, report = run(world, tmp_path / "out")
    assert code == 0
    assert report["num_queries"] == QUERIES
    assert report["mean_candidates"] == RETRIEVED + GENERATED
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    ranker = GeoRanker.from_pretrained(tiny_base, world / "adapter", device="cpu")
    photos, gallery = (
        ImageStore.from_paths([world / "photos"]),
        ImageStore.from_paths([world / "gallery.tar"]),
    )
    queries, _ = read_candidate_table(world / "candidates.csv", RETRIEVED, GENERATED)
    for query, (_, row) in zip(queries, table.iterrows(), strict=True):
        best, *_ = ranked = ranker.rank(photos.open(query.image), query.candidates, query.negatives, images=gallery)
        assert row["IMG_ID"] == query.image
        assert (row["predicted_latitude"], row["predicted_longitude"]) == (
            best.candidate.latitude,
            best.candidate.longitude,
        )
        rewards = json.loads(row["candidate_reward_lis"])
        assert sorted(rewards) == pytest.approx(sorted(place.reward for place in ranked), abs=1e-4)
    with Image.open(tmp_path / "out" / "error_curve.png") as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 400


def test_without_a_model(world, run, tmp_path):
    """Neither photos nor weights are needed."""
    for name in ("photos", "adapter"):
        shutil.rmtree(world / name)
    (world / "gallery.tar").unlink()
    rankers = ("retrieval", "consensus", "consensus_equal", "similarity", "random", "oracle")
    for ranker in rankers:
        code, report = run(world, tmp_path / ranker, "--ranker", ranker, "--model_path", "nowhere")
        assert code == 0
        assert set(report["rankers"]) == set(rankers)
        assert report["prediction"] == ranker
        assert report["calibration_error"] is None
        errors = pd.read_csv(tmp_path / ranker / "predictions.csv")["error_km"]
        assert report["rankers"][ranker]["median_km"] == pytest.approx(np.median(errors))


def test_what_a_vote_is_worth(world, run, tmp_path, capsys):
    """Stated from a file that was fitted on such candidates, and for no others."""
    fitted = fit_decoders(
        random_cases(220, rewards=False), Sources(RETRIEVED, GENERATED, 0.0, gallery_hash(world / "gallery.csv")), VOTES
    )
    VoteCalibration("invented queries", fitted).save(tmp_path / "votes.json")
    command = ["--ranker", "consensus", "--calibration", str(tmp_path / "votes.json")]
    _, report = run(world, tmp_path / "same", *command, "--gallery", str(world / "gallery.csv"))
    assert {"calibration_errors", "brier", "regions"} <= report.keys()
    assert (tmp_path / "same" / "reliability.png").exists()
    assert "confidence was fitted on: invented queries" in capsys.readouterr().err
    for extra, said in (
        ([], "another gallery"),
        (["--topn", "3"], f"{RETRIEVED} similar photos, not 3; another gallery"),
    ):
        _, report = run(world, tmp_path / "other", *command, *extra)
        assert "regions" not in report
        assert f"answers: a vote of the candidates (consensus) was calibrated on other candidates: {said}" in (
            capsys.readouterr().err
        )


def test_resumes_after_a_kill(world, run, tmp_path, tiny_base, monkeypatch):
    _, whole = run(world, tmp_path / "whole")
    output = tmp_path / "killed"
    command, log = script(world, tiny_base, output, "--max_tokens", "1"), tmp_path / "log"
    assert ended([start(killed_after, 3, command, log=log)]) == [-signal.SIGKILL], log.read_text()
    finished = log_lines(output)
    assert len(finished) == 3
    log = next(output.glob("rewards.*.jsonl"))
    log.write_text(log.read_text()[:-9])  # the last line is torn, as a full disk would leave it
    scored = []
    score_benchmark = by_ranker.score_benchmark
    monkeypatch.setattr(
        by_ranker,
        "score_benchmark",
        lambda ranker, queries, *rest, **settings: (
            scored.extend(query.image for query in queries.values()),
            score_benchmark(ranker, queries, *rest, **settings),
        )[1],
    )
    code, resumed = run(world, output)
    assert code == 0
    assert len(scored) == QUERIES - (len(finished) - 1)
    assert not set(scored) & {json.loads(line)["query"] for line in finished[:-1]}
    assert_same_report(whole, resumed)

    scored.clear()
    _, again = run(world, output)
    assert scored == []
    assert_same_report(resumed, again)


def test_another_setting_scores_anew(world, run, tmp_path):
    output = tmp_path / "out"
    _, first = run(world, output)
    _, fewer = run(world, output, "--topn", "3")
    assert fewer["mean_candidates"] == 3 + GENERATED
    info = AdapterInfo.load(world / "adapter")
    AdapterInfo(info.base_model, "published").save(world / "adapter")
    before = len(log_lines(output))
    _, published = run(world, output)
    assert len(log_lines(output)) == before + QUERIES
    assert published["rankers"]["oracle"] == first["rankers"]["oracle"]
    before = len(log_lines(output))
    _, eager = run(world, output, "--vision_attn", "eager")
    assert len(log_lines(output)) == before + QUERIES, "kernels round differently"
    assert_same_report(eager, published)


def test_quantised_weights_score_anew(world, run, tmp_path):
    output = tmp_path / "out"
    _, first = run(world, output, "--num_queries", "2")
    before = len(log_lines(output))
    code, quantised = run(world, output, "--num_queries", "2", "--quantize", "4bit")
    assert code == 0
    assert len(log_lines(output)) == before + 2
    assert quantised["settings"]["quantize"] == "4bit"
    _, again = run(world, output, "--num_queries", "2")
    assert len(log_lines(output)) == before + 2, "rewards of the weights as they are stay valid"
    assert_same_report(first, again)
    assert quantised["rankers"]["oracle"] == first["rankers"]["oracle"]


def test_flash_attention_that_is_missing_is_named_before_anything_is_loaded(world, run, tmp_path, monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "flash_attn" else find(name, *rest)
    )
    shutil.rmtree(world / "adapter")
    with pytest.raises(SystemExit) as stop:
        run(world, tmp_path, "--vision_attn", "flash_attention_2")
    assert stop.value.code == 2
    message = "error: vision_attn flash_attention_2 needs the package flash-attn: pip install --no-build-isolation -e"
    assert message in capsys.readouterr().err


def test_who_has_trained_nothing_is_told_of_the_shipped_adapter(tmp_path, monkeypatch):
    """Step 6 of the README for an adapter of one's own, in a checkout that has none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["evaluate.py", "--dataset", "earth", "--model_path", "outputs/earth"])
    message = r"outputs/earth/adapter_config\.json does not exist .*--model_path .* world's is checkpoints/earth,"
    with pytest.raises(SystemExit, match=message):
        evaluate.main()


def test_an_adapter_with_omit_is_evaluated_without_the_parts(world, run, tmp_path, tiny_base):
    """Against naive prompts of stripped queries; the same adapter without `omit` is another scorer to the log."""
    _, whole = run(world, tmp_path / "out")
    info = AdapterInfo.load(world / "adapter")
    replace(info, omit=("images", "negatives")).save(world / "adapter")
    code, report = run(world, tmp_path / "out")
    assert code == 0
    assert len(log_lines(tmp_path / "out")) == 2 * QUERIES
    assert report["rankers"]["oracle"] == whole["rankers"]["oracle"]
    ranker = GeoRanker.from_pretrained(tiny_base, world / "adapter", device="cpu")
    store = ImageStore.from_paths([world / "photos"])
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    queries, _ = read_candidate_table(world / "candidates.csv", RETRIEVED, GENERATED)
    for query, rewards in zip(queries, table["candidate_reward_lis"], strict=True):
        candidates = tuple(replace(candidate, image=None) for candidate in query.candidates)
        stripped = replace(query, candidates=candidates, negatives=())
        with torch.no_grad():
            photos = {query.image: store.open(query.image)}
            expected = naive_rewards(ranker.backbone, ranker.score, ranker.packer, [stripped], photos)
        assert json.loads(rewards) == pytest.approx(expected.tolist(), abs=1e-4)


@pytest.mark.parametrize("cache", [False, True])
def test_a_released_adapter_sees_candidates_re_encoded(world, run, tmp_path, tiny_base, cache):
    """Candidates' photos as JPEG of PIL's default quality, those of queries as they are; also once calibrated."""
    shutil.rmtree(world / "adapter")
    write_adapter(world / "adapter", tiny_base)
    model, head = merged_by_hand(tiny_base, world / "adapter")
    packer = GeoRanker.from_pretrained(tiny_base, device="cpu").packer
    queries, _ = read_candidate_table(world / "candidates.csv", RETRIEVED, GENERATED)
    stores = [ImageStore.from_paths([world / name]) for name in ("photos", "gallery.tar")]
    extra = ["--feature_cache", str(tmp_path / "cache")] if cache else []
    run(world, tmp_path / "out", "--num_queries", "2", "--calibrate", *extra)
    run(world, tmp_path / "again", "--num_queries", "2", *extra)
    assert AdapterInfo.load(world / "adapter").candidate_jpeg_quality == 75
    for folder in ("out", "again"):
        table = pd.read_csv(tmp_path / folder / "predictions.csv")
        for query, rewards in zip(queries[:2], table["candidate_reward_lis"], strict=True):
            photos = {c.image: saved_as_jpeg(stores[1].open(c.image)) for c in query.candidates if c.image}
            photos |= {query.image: stores[0].open(query.image)}
            with torch.no_grad():
                expected = naive_rewards(model, lambda hidden: head @ hidden, packer, [query], photos)
            assert json.loads(rewards) == pytest.approx(expected.tolist(), abs=1e-4)


def test_two_processes_report_as_one(world, run, tmp_path, tiny_base):
    _, one = run(world, tmp_path / "one")
    command, log = script(world, tiny_base, tmp_path / "two"), tmp_path / "log"
    launcher = start(launch, "torchrun", ["--standalone", "--nproc_per_node", "2", *command], log=log)
    assert ended([launcher]) == [0], log.read_text()
    assert log.read_text().count("GeoScore") == 1
    assert len(log_lines(tmp_path / "two")) == QUERIES
    assert_same_report(one, json.loads((tmp_path / "two" / "metrics.json").read_text()))


def test_what_a_dead_process_had_taken_is_done_on_the_next_start(world, run, tmp_path, tiny_base):
    _, whole = run(world, tmp_path / "whole")
    output, log = tmp_path / "two", tmp_path / "log"
    together = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    command = script(world, tiny_base, output, "--max_tokens", "1")
    processes = [
        start(killed_after, 2, command, log=log, environment=together | {"RANK": str(rank)}) for rank in (0, 1)
    ]
    assert ended(processes[:1]) == [-signal.SIGKILL], log.read_text()
    kill(processes[1])  # unless it has been killed by itself, or is at a loss without the first one's counters
    assert 2 <= len(log_lines(output)) <= 4
    code, resumed = run(world, output)
    assert code == 0
    assert_same_report(whole, resumed)


def test_feature_cache(world, run, tmp_path, capsys):
    """The same report; a second run reads no gallery photo; a broken photo is still named."""
    _, plain = run(world, tmp_path / "plain")
    cache = ["--feature_cache", str(tmp_path / "cache")]
    _, first = run(world, tmp_path / "first", *cache)
    assert_same_report(plain, first)
    assert re.search(r"cache/\w+: features of \d+ photos, [\d.]+ MB", capsys.readouterr().err)
    tar, time = (world / "gallery.tar").read_bytes(), (world / "gallery.tar").stat().st_mtime_ns
    (world / "gallery.tar").write_bytes(bytes(len(tar)))
    os.utime(world / "gallery.tar", ns=(time, time))  # with another time, the photos would be encoded anew
    code, second = run(world, tmp_path / "second", *cache)
    assert code == 0
    assert_same_report(plain, second)
    (world / "photos" / "q3.jpg").write_bytes(b"no photo")
    shutil.rmtree(tmp_path / "cache")
    (world / "gallery.tar").write_bytes(tar)
    code, spoiled = run(world, tmp_path / "spoiled", *cache)
    assert code == 1
    assert len(spoiled["problems"]) == 1
    assert "q3.jpg: query left out" in spoiled["problems"][0]


def test_a_bad_photo_costs_only_itself(world, run, tmp_path, capsys):
    run(world, tmp_path / "whole")
    (world / "photos" / "q3.jpg").write_bytes(b"no photo")
    tar = (world / "gallery.tar").read_bytes()
    start_of_photo = ImageStore.from_paths([world / "gallery.tar"]).sources[0].index["g5.jpg"].offset
    (world / "gallery.tar").write_bytes(tar[:start_of_photo] + bytes(200) + tar[start_of_photo + 200 :])
    capsys.readouterr()
    code, report = run(world, tmp_path / "out")
    assert code == 1
    queries, _ = read_candidate_table(world / "candidates.csv", RETRIEVED, GENERATED)
    shown = {q.image for q in queries if any(c.image == "g5.jpg" for c in q.candidates)} - {"q3.jpg"}
    assert report["num_queries"] == QUERIES - 1
    assert {problem.split(":")[0] for problem in report["problems"]} == shown | {"q3.jpg"}
    assert "q3.jpg: query left out" in capsys.readouterr().err
    before, after = (pd.read_csv(tmp_path / name / "predictions.csv", index_col="IMG_ID") for name in ("whole", "out"))
    for name, row in after.iterrows():
        lost = 1 if name in shown else 0
        assert len(json.loads(row["candidate_reward_lis"])) == RETRIEVED + GENERATED - lost
        if not lost:
            assert row["error_km"] == before.loc[name, "error_km"]

    (world / "gallery.tar").write_bytes(tar)  # repaired, it is tried again
    _, repaired = run(world, tmp_path / "out")
    assert [problem.split(":")[0] for problem in repaired["problems"]] == ["q3.jpg"]


def test_a_table_without_a_usable_row_shows_the_first_of_them(world, run, tmp_path):
    header, *rows = (world / "candidates.csv").read_text().splitlines()
    bad = [row.replace(row.split(",")[1], "north", 1) for row in rows * 3]
    (world / "candidates.csv").write_text("\n".join([header, *bad]) + "\n")
    with pytest.raises(SystemExit) as stop:
        run(world, tmp_path / "out", "--ranker", "retrieval")
    first, *named = str(stop.value).splitlines()
    assert first == f"error: {world / 'candidates.csv'}: no query left to report on"
    assert len(named) == 21
    assert "row 19 (q9.jpg)" in named[-2]
    assert named[-1] == "10 more"


def test_queries_that_are_all_lost_in_scoring_are_no_fault_of_the_table(world, run, tmp_path):
    for photo in (world / "photos").iterdir():
        photo.write_bytes(b"no photo")
    with pytest.raises(SystemExit, match=r"^error: none of the 10 queries could be scored\nq0\.jpg: query left out: "):
        run(world, tmp_path / "out")


def test_calibration_is_stored_with_the_adapter(world, run, tmp_path):
    _, before = run(world, tmp_path / "out")
    assert before["temperature"] == 1
    _, report = run(world, tmp_path / "out", "--calibrate")
    info = AdapterInfo.load(world / "adapter")
    assert (info.temperature, info.similarity_weight) == (report["temperature"], report["similarity_weight"])
    assert info.temperature != 1
    assert len(log_lines(tmp_path / "out")) == QUERIES  # calibration changes no rewards
    _, after = run(world, tmp_path / "after", "--decode", "consensus")
    assert after["temperature"] == info.temperature
    assert after["prediction"] == "model_consensus"
    assert after["rankers"]["model"] == before["rankers"]["model"]
    _, fused = run(world, tmp_path / "after", "--decode", "fused_consensus")
    assert fused["prediction"] == "model_fused_consensus"
    picked = pd.read_csv(tmp_path / "after" / "predictions.csv")
    assert 100 * (picked["error_km"] < 200).mean() == fused["rankers"]["model_fused_consensus"]["accuracy"]["200"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "earth", "--calibrate"], "would spoil the test"),
        (["--dataset", "earth", "--split", "check", "--calibrate"], "would spoil the test"),
        (["--dataset", "im2gps3k", "--model_path", "lora", "--calibrate"], "would spoil the test"),
        (["--dataset", "earth", "--split", "val", "--ranker", "consensus", "--calibrate"], "tools.fit_consensus"),
        (["--dataset", "earth", "--calibration", "votes.json"], "--calibration is for --ranker consensus or"),
        (["--dataset", "earth", "--split", "val", "--calibrate", "--quantize", "8bit"], "no use with --calibrate"),
        (["--dataset", "earth", "--ranker", "oracle", "--quantize", "8bit"], "--quantize: no use with --ranker oracle"),
        (["--dataset", "im2gps3k"], "needs --model_path"),
        (["--dataset", "earth", "--ranker", "oracle", "--decode", "argmax"], "--decode: no use with --ranker oracle"),
        (["--dataset", "earth", "--ranker", "random", "--name_generated"], "--name_generated: no use with --ranker"),
        (["--dataset", "earth", "--max_tokens", "9", "--batch_size", "32"], "--batch_size: no use with --max_tokens"),
        (["--dataset", "im2gps3k", "--split", "val"], "has no splits"),
        (["--dataset", "earth", "--batch_size", "0"], "--batch_size: 0: it is at least 1"),
        (["--dataset", "earth", "--topn", "0", "--topn_zs", "0"], "--topn and --topn_zs leave no place to rank"),
        (["--dataset", "earth", "--merge_km", "nan"], "--merge_km: nan: it is at least 0"),
    ],
)
def test_impossible_flags(arguments, message, capsys):
    with pytest.raises(SystemExit):
        evaluate.parse_arguments(arguments)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("split", ["val", "calibration"])
def test_calibration_queries_of_earth(split):
    args = evaluate.parse_arguments(["--dataset", "earth", "--split", split, "--calibrate"])
    assert args.candidates == f"dataset/earth/{split}/candidates.csv"
    assert args.image_path == f"dataset/earth/{split}/images"
    assert args.output_dir == Path("outputs/evaluate", f"earth-{split}")


def test_the_older_spelling_of_a_flag_still_works(capsys):
    base = ["--dataset", "earth"]
    assert evaluate.parse_arguments(base).sharing == "prefix_cache"
    for old, new in (("cache", "prefix_cache"), ("packed", "packed_row")):
        older, newer = ([*base, flag, value] for flag, value in (("--carrier", old), ("--sharing", new)))
        assert vars(evaluate.parse_arguments(older)) == vars(evaluate.parse_arguments(newer))
        assert evaluate.parse_arguments(older).sharing == new
    with pytest.raises(SystemExit):
        evaluate.parse_arguments([*base, "--carrier", "pigeon"])
    assert "invalid choice: 'pigeon'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        evaluate.parse_arguments(["--help"])
    shown = capsys.readouterr().out
    assert "--sharing" in shown
    assert "carrier" not in shown


def test_a_damaged_georanker_json_is_named(world, run, tmp_path, capsys):
    path = world / "adapter" / "georanker.json"
    path.write_text("{")
    with pytest.raises(SystemExit, match=rf"{path}: "):  # the base model is given
        run(world, tmp_path / "out")
    with pytest.raises(SystemExit):  # the base model is the one that the file names
        evaluate.parse_arguments(["--model_path", str(path.parent)])
    assert f"error: {path}: " in capsys.readouterr().err


def test_published_command():
    command = "--model_path=lora --dataset=im2gps3k --topn=12 --topn_zs=3 --batch_size=16"
    args = evaluate.parse_arguments(command.split())
    assert args.model == "Qwen/Qwen2-VL-7B-Instruct"
    assert args.candidates == "dataset/im2gps3k/im2gps3k.csv"
    assert args.max_tokens == 16 * 1024
    defaults = evaluate.parse_arguments(["--model_path", "lora"])
    assert (defaults.topn, defaults.topn_zs, defaults.max_tokens) == (10, 5, MAX_TOKENS)


@pytest.mark.parametrize("name", ["gpu", "meta"])
def test_a_device_that_is_none_is_refused_before_weights_are_read(world, run, tmp_path, name):
    for weights in (world / "adapter").glob("*.safetensors"):
        weights.write_bytes(b"")
    with pytest.raises(SystemExit, match=f"^error: device {name}: it is cpu, cuda or cuda:N"):
        run(world, tmp_path / "out", "--device", name)


@pytest.mark.parametrize("name", ["candidates.csv", "photos", "gallery.tar", "adapter"])
def test_a_missing_file_is_named_with_its_flag(world, run, tmp_path, name):
    (world / name).rename(world / "elsewhere")
    with pytest.raises(SystemExit, match=rf"{name}.* does not exist.*--"):
        run(world, tmp_path / "out")
