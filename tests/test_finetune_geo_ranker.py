"""Training runs of a tiny model through the script: learning, resuming, what is refused, what costs nothing else."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import wandb
from peft import PeftModel
from PIL import Image
from safetensors.torch import load_file

import finetune_geo_ranker
from tests.held import held
from tests.naive import naive_rewards
from tests.released import saved_as_jpeg
from tests.training_world import arguments, build_broken_jpegs, build_training_world, logged, losses, train
from utils.candidates import Candidate
from utils.geo_ranker import GeoRanker
from utils.model.adapter_info import AdapterInfo
from utils.model.features import EncodedPhotos
from utils.model.prompts import PARTS
from utils.photos.store import ImageStore
from utils.training.batches import show
from utils.training.georanking import read_georanking, write_georanking
from utils.training.groups import GroupRule, evaluation_group
from utils.training.losses import multi_order_loss
from utils.training.photos import GroupPhotos

ROOT = Path(__file__).parent.parent
PLAIN = {"max_steps": 2, "hard_pool": 8, "generated": 2, "lora_dropout": 0}


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """See ``build_training_world``."""
    return build_training_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def run(world, tiny_base, tmp_path_factory) -> Path:
    """A finished run: 8 rows, 20 epochs of 2 steps, evaluated twice."""
    output = tmp_path_factory.mktemp("run")
    train(
        world,
        tiny_base,
        output,
        eval_dataset=world / "val.parquet",
        num_samples=8,
        num_train_epochs=20,
        per_device_train_batch_size=4,
        per_device_eval_batch_size=3,
        prompt_layout="negatives_first",
        eval_steps=20,
        save_steps=20,
    )
    return output


@pytest.fixture(scope="module")
def plain(world, tiny_base, tmp_path_factory) -> list[dict]:
    """What a run with PLAIN settings logs."""
    return train(world, tiny_base, tmp_path_factory.mktemp("plain"), **PLAIN)


def test_training_lowers_the_loss_and_logs_its_terms(run):
    entries = logged(run)
    start, end = (np.mean([entry["loss"] for entry in part]) for part in (entries[:8], entries[-8:]))
    assert end < 0.75 * start
    for entry in entries:
        expected = 0.7 * entry["first_order_loss"] + 0.3 * entry["second_order_loss"]
        assert entry["loss"] == pytest.approx(expected, rel=1e-4)
        assert 0 <= entry["pairwise_accuracy"] <= 100
    rates = [entry["learning_rate"] for entry in entries]
    assert rates == sorted(rates, reverse=True)


def test_evaluation_figures_are_those_of_the_saved_adapter(world, tiny_base, run):
    """Loss, pairwise accuracy and accuracy of the last evaluation, computed again from scratch."""
    history = json.loads((run / "checkpoint-40" / "trainer_state.json").read_text())["log_history"]
    (reported,) = [entry for entry in history if "eval_loss" in entry and entry["step"] == 40]
    ranker = GeoRanker.from_pretrained(tiny_base, run, device="cpu")
    store = ImageStore.from_paths([world / "photos"])
    rows, _ = read_georanking(world / "val.parquet")
    expected, ordered, within = [], [], []
    for row in rows:
        group = show(evaluation_group(row, GroupRule()), GroupPhotos.alike(EncodedPhotos(store, ranker.packer)))
        (rewards,) = ranker.score_queries([group.query], group.photos)
        expected.append(multi_order_loss(rewards, group.distances).total.item())
        signs = [
            (rewards[i] > rewards[j]).item()
            for i in range(5)
            for j in range(5)
            if group.distances[i] < group.distances[j]
        ]
        ordered.append(100 * np.mean(signs))
        within.append(100 * (group.distances[rewards.argmax()] < 200).item())
    assert reported["eval_loss"] == pytest.approx(np.mean(expected), rel=1e-4)
    assert reported["eval_pairwise_accuracy"] == pytest.approx(np.mean(ordered), rel=1e-4)
    assert reported["eval_accuracy_200km"] == pytest.approx(np.mean(within))


def test_the_adapter_reloads_with_equal_rewards(world, tiny_base, run):
    """Through PeftModel onto a fresh GeoRanker, through GeoRanker, and from the last checkpoint."""
    info = AdapterInfo.load(run)
    assert (info.layout, info.group_size, info.base_model) == ("negatives_first", 5, str(tiny_base))
    assert info.candidate_jpeg_quality is None
    plain = PeftModel.from_pretrained(
        GeoRanker.from_pretrained(tiny_base, layout=info.layout, device="cpu"), run
    ).eval()
    loaded = [GeoRanker.from_pretrained(tiny_base, folder, device="cpu") for folder in (run, run / "checkpoint-40")]
    store = ImageStore.from_paths([world / "photos"])
    row = read_georanking(world / "val.parquet")[0][0]
    group = show(evaluation_group(row, GroupRule()), GroupPhotos.alike(EncodedPhotos(store, loaded[0].packer)))
    expected = plain.get_base_model().score_queries([group.query], group.photos)[0]
    untrained = GeoRanker.from_pretrained(tiny_base, layout=info.layout, device="cpu")
    for ranker in loaded:
        assert torch.allclose(ranker.score_queries([group.query], group.photos)[0], expected, atol=1e-4)
    assert not torch.allclose(untrained.score_queries([group.query], group.photos)[0], expected, atol=0.1)


@pytest.mark.parametrize(
    ("flags", "quality", "drop"),
    [
        ({}, 75, False),
        ({"prompt_layout": "negatives_first"}, None, True),
        ({"jpeg_quality": 0}, None, False),
        ({"prompt_layout": "negatives_first", "jpeg_quality": 60}, 60, True),
    ],
)
def test_the_published_layout_is_trained_as_the_original(world, tiny_base, tmp_path, flags, quality, drop):
    args = finetune_geo_ranker.parse_arguments(arguments(world, tiny_base, tmp_path, **flags))
    assert (args.jpeg_quality, args.rule.drop_empty_names) == (quality, drop)


def test_photos_of_queries_and_candidates_are_re_encoded_in_training(world, tiny_base, plain, tmp_path):
    """As if they were JPEG files already, and unlike the photos as they are."""
    (tmp_path / "photos").mkdir()
    for path in (world / "photos").iterdir():
        saved_as_jpeg(Image.open(path)).save(tmp_path / "photos" / path.name)
    prepared = train(world, tiny_base, tmp_path / "out", image_path=tmp_path / "photos", jpeg_quality=0, **PLAIN)
    assert losses(prepared) == pytest.approx(losses(plain), rel=1e-6)
    assert AdapterInfo.load(tmp_path / "out").candidate_jpeg_quality is None
    unprepared = train(world, tiny_base, tmp_path / "plain", jpeg_quality=0, **PLAIN)
    assert losses(unprepared) != pytest.approx(losses(plain), rel=1e-4)


@pytest.mark.parametrize("part", PARTS)
def test_an_adapter_never_sees_what_its_training_left_out(world, tiny_base, tmp_path, part):
    """Its rewards are those of naive prompts without the part, and not those of whole prompts."""
    train(world, tiny_base, tmp_path / "out", max_steps=1, omit=part, prompt_layout="negatives_first")
    assert AdapterInfo.load(tmp_path / "out").omit == (part,)
    ranker = GeoRanker.from_pretrained(tiny_base, tmp_path / "out", device="cpu")
    assert ranker.info.omit == (part,)
    store = ImageStore.from_paths([world / "photos"])
    query = evaluation_group(read_georanking(world / "val.parquet")[0][0], GroupRule())

    def bare(place: Candidate) -> Candidate:
        return replace(place, **{"texts": {"texts": ()}, "images": {"image": None}, "negatives": {}}[part])

    negatives = () if part == "negatives" else tuple(map(bare, query.negatives))
    stripped = replace(query, candidates=tuple(map(bare, query.candidates)), negatives=negatives)
    photos = {name: store.open(name) for name in [query.image, *(place.image for place in query.candidates)]}
    with torch.no_grad():
        without, whole = (
            naive_rewards(ranker.backbone, ranker.score, ranker.packer, [shown], photos) for shown in (stripped, query)
        )
    places = ranker.rank(photos[query.image], query.candidates, query.negatives, images=store)
    rewards = [next(p.reward for p in places if p.candidate is candidate) for candidate in query.candidates]
    assert rewards == pytest.approx(without.tolist(), abs=1e-4)
    assert rewards != pytest.approx(whole.tolist(), abs=1e-3)


def test_training_without_texts_is_training_on_rows_without_texts(world, tiny_base, tmp_path):
    """But for the published layout, which shows a ", " where there might be names."""
    settings = PLAIN | {"prompt_layout": "negatives_first"}
    rows, _ = read_georanking(world / "train.parquet")
    write_georanking(tmp_path / "bare.parquet", [replace(row, ref_texts=[[] for _ in row.ref_texts]) for row in rows])
    omitting = train(world, tiny_base, tmp_path / "omitting", omit="texts", **settings)
    bare = train(world, tiny_base, tmp_path / "bare", dataset=tmp_path / "bare.parquet", **settings)
    whole = train(world, tiny_base, tmp_path / "whole", **settings)
    assert losses(omitting) == losses(bare)
    assert losses(omitting) != losses(whole)


def test_output_folder_holds_the_adapter_and_the_last_two_checkpoints(run):
    assert {path.name for path in run.iterdir()} == {
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "georanker.json",
        "checkpoint-20",
        "checkpoint-40",
    }


def test_cached_features_and_gradient_checkpointing_change_no_loss(world, tiny_base, plain, tmp_path):
    cached = train(world, tiny_base, tmp_path / "cached", cache_image_features="", **PLAIN)
    kept = train(world, tiny_base, tmp_path / "kept", feature_cache=tmp_path / "features", **PLAIN)
    packed = train(world, tiny_base, tmp_path / "packed", gradient_checkpointing="", **PLAIN)
    assert losses(cached) == pytest.approx(losses(plain), rel=1e-4)
    assert losses(kept) == pytest.approx(losses(cached), rel=1e-6)
    assert losses(packed) == pytest.approx(losses(plain), rel=1e-4)


def test_workers_change_no_loss(world, tiny_base, tmp_path):
    settings = {"max_steps": 2, "hard_pool": 8, "gallery": world / "gallery.csv", "easy_share": "0.8:0.2"}
    alone = train(world, tiny_base, tmp_path / "alone", **settings)
    helped = train(world, tiny_base, tmp_path / "helped", num_workers=2, **settings)
    assert losses(helped) == pytest.approx(losses(alone), rel=1e-6)


def test_a_fresh_start_over_checkpoints_is_refused(world, tiny_base, run):
    """Else ``latest`` would later mean the one with the most steps, of whichever training."""
    with pytest.raises(SystemExit, match="has checkpoints of an earlier training: go on from them with"):
        train(world, tiny_base, run)


def test_resuming_in_the_second_epoch_equals_going_on(world, tiny_base, tmp_path):
    """bf16 and dropout included; 16 rows in batches of 4 are 4 steps an epoch."""
    settings = {"num_train_epochs": 3, "hard_pool": 8, "dtype": "bfloat16", "save_steps": 3}
    whole = train(world, tiny_base, tmp_path, **settings)
    weights = load_file(tmp_path / "adapter_model.safetensors")
    again = train(world, tiny_base, tmp_path, continue_ckpt_path=tmp_path / "checkpoint-9", **settings)
    assert losses(again) == pytest.approx(losses(whole), rel=1e-6)
    for name, weight in load_file(tmp_path / "adapter_model.safetensors").items():
        assert torch.equal(weight, weights[name])


@pytest.mark.parametrize("more", [{}, {"continue_ckpt_path": "latest"}])
def test_a_folder_that_another_training_saves_into_is_left_alone(world, tiny_base, tmp_path, more):
    with held(tmp_path) as message:
        with pytest.raises(SystemExit, match=message):
            train(world, tiny_base, tmp_path, **more)
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_nothing_left_to_train_is_said(world, tiny_base, tmp_path, capsys):
    """A run that was stopped between its last checkpoint and the adapter still gets its adapter, and no step more."""
    settings = {"save_steps": 2, "lr_scheduler_type": "constant"}
    train(world, tiny_base, tmp_path, max_steps=2, **settings)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    for name in files:
        (tmp_path / name).unlink()
    settings["continue_ckpt_path"] = "latest"
    capsys.readouterr()
    train(world, tiny_base, tmp_path, max_steps=2, **settings)
    (note,) = [line for line in capsys.readouterr().err.splitlines() if "left to train" in line]
    assert note.startswith(f"nothing is left to train: {tmp_path}/checkpoint-2 has all 2 steps of these settings")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == files
    assert len(list(tmp_path.glob("checkpoint-*"))) == 1

    message = r"checkpoint-2 has 2 steps behind it, and these settings make 1: nothing is left to train; --num_train"
    with pytest.raises(SystemExit, match=message):
        train(world, tiny_base, tmp_path, max_steps=1, **settings)
    train(world, tiny_base, tmp_path, max_steps=3, **settings)
    assert "left to train" not in capsys.readouterr().err
    assert (tmp_path / "adapter_model.safetensors").read_bytes() != files["adapter_model.safetensors"]


def test_wandb_takes_the_logs_offline(world, tiny_base, tmp_path, monkeypatch):
    """Nothing leaves the machine; the run's file holds what the Trainer logged."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    for folder in ("DIR", "CACHE_DIR", "CONFIG_DIR", "DATA_DIR"):
        monkeypatch.setenv(f"WANDB_{folder}", str(tmp_path))
    monkeypatch.setenv("WANDB_CONSOLE", "off")  # or it keeps a hook in the standard error of later tests
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_PROJECT", "places")
    (entry,) = train(world, tiny_base, tmp_path / "out", max_steps=1, report_to="wandb")
    wandb.teardown()
    (record,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    written = record.read_bytes()
    for text in ("places", "train/first_order_loss", repr(entry["first_order_loss"])):
        assert text.encode() in written, text


def test_packages_that_are_missing_are_named_with_what_installs_them(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for flags, message in (
        ("--report_to wandb", "report_to wandb needs the package wandb: pip install -e '.[wandb]'"),
        ("--deepspeed zero2.json", "deepspeed needs the package deepspeed: pip install -e '.[train]'"),
        ("--vision_attn flash_attention_2", "pip install --no-build-isolation -e '.[flash-attn]'"),
    ):
        with pytest.raises(SystemExit):
            finetune_geo_ranker.parse_arguments(["--model_save_path", "x", *flags.split()])
        assert message in capsys.readouterr().err


def test_bad_rows_and_photos_are_named_and_cost_nothing_else(world, tiny_base, tmp_path, capsys, caplog):
    rows, _ = read_georanking(world / "train.parquet")
    store = ImageStore.from_paths([world / "photos"])
    (tmp_path / "photos").mkdir()
    for row in rows:
        for image_id in row.ref_img_id:
            store.open(image_id).save(tmp_path / "photos" / image_id)
    (tmp_path / "photos" / rows[0].img_id).unlink()
    (tmp_path / "photos" / rows[1].ref_img_id[2]).unlink()
    (tmp_path / "photos" / rows[2].img_id).write_bytes(b"no photo")
    (tmp_path / "photos" / rows[3].ref_img_id[1]).write_bytes(b"no photo")
    Image.new("RGB", (300, 1)).save(tmp_path / "photos" / rows[5].ref_img_id[3])
    rows[4].ref_gps, rows[4].ref_img_id, rows[4].ref_texts = (
        part[:4] for part in (rows[4].ref_gps, rows[4].ref_img_id, rows[4].ref_texts)
    )
    write_georanking(tmp_path / "rows.parquet", rows[:6])
    entries = train(
        world, tiny_base, tmp_path / "out", dataset=tmp_path / "rows.parquet", image_path=tmp_path / "photos",
        total_batch_size=3, per_device_train_batch_size=3,
    )  # fmt: skip
    assert np.isfinite(entries[0]["loss"])
    printed = capsys.readouterr().err
    assert "3 usable, 3 problems" in printed
    assert f"{rows[0].img_id}: no photo {rows[0].img_id}" in printed
    assert f"{rows[1].img_id}: no photo {rows[1].ref_img_id[2]}" in printed
    assert f"{rows[4].img_id}: 4 references, 6 needed" in printed
    assert f"{rows[2].img_id}: row left out" in caplog.text
    assert f"{rows[3].img_id}: candidate left out" in caplog.text
    assert rows[3].ref_img_id[1] in caplog.text
    assert f"{rows[5].img_id}: candidate left out: {rows[5].ref_img_id[3]}" in caplog.text


def test_broken_jpegs_cost_candidates_and_rows_and_are_named_once(world, tiny_base, tmp_path, capsys, caplog):
    """Two epochs of 16 rows: 3 rows in each give way to the next one; whatever the workers do."""
    broken = build_broken_jpegs(world, tmp_path)
    settings = {"dataset": tmp_path / "train.parquet", "image_path": tmp_path / "photos.tar", "num_train_epochs": 2}
    alone = train(world, tiny_base, tmp_path / "alone", save_steps=3, **settings)
    printed, notes = capsys.readouterr()
    assert "train.parquet: 16 usable, 0 problems" in notes
    for photo in broken:
        assert sum(f"left out: {photo} in " in message for message in caplog.messages) == 1
    assert sum("fewer than two" in message for message in caplog.messages) == 2
    counts = {
        name: int(re.search(rf"'{name}': '?(\d+)", printed)[1]) for name in ("unreadable_photos", "rows_left_out")
    }
    assert counts["unreadable_photos"] == 4
    assert counts["rows_left_out"] >= 6  # a row may be met in its own place, and as the next one of another
    assert "candidates_left_out" in printed

    helped = train(world, tiny_base, tmp_path / "helped", num_workers=2, **settings)
    assert losses(helped) == losses(alone)
    again = train(
        world, tiny_base, tmp_path / "alone", continue_ckpt_path=tmp_path / "alone" / "checkpoint-6", **settings
    )
    assert losses(again) == losses(alone)


def test_broken_photos_with_cached_features_are_left_out_before_training(world, tiny_base, tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    for path in (world / "photos").iterdir():
        (tmp_path / "photos" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "photos" / "query_3.png").write_bytes(b"no photo")
    train(
        world,
        tiny_base,
        tmp_path / "out",
        image_path=tmp_path / "photos",
        cache_image_features="",
        max_steps=1,
    )
    printed = capsys.readouterr().err
    assert "query_3.png: no photo query_3.png" in printed
    assert "15 usable, 1 problems" in printed


def test_mistakes_are_answered_before_anything_heavy_is_imported():
    """In a fresh process: help, a wrong flag, a missing file, nothing to go on from."""
    script = """
import contextlib, io, sys
import finetune_geo_ranker

for flags in (["--help"], ["--bogus"], ["--dataset", "absent"], ["--dataset", ".", "--continue_ckpt_path", "absent"]):
    streams = io.StringIO()
    with contextlib.redirect_stdout(streams), contextlib.redirect_stderr(streams):
        try:
            finetune_geo_ranker.main(["--model_save_path", "x", "--image_path", ".", *flags])
        except SystemExit as stop:
            code = stop.code
    print(code, streams.getvalue().splitlines()[-1:])
print([name for name in ("torch", "transformers", "peft", "sklearn", "matplotlib") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    shown_help, wrong, *missing, heavy = done.stdout.splitlines()
    assert shown_help.startswith("0 ")
    assert wrong.startswith("2 ")
    assert "unrecognized arguments: --bogus" in wrong
    assert missing == [
        "error: absent does not exist (or say with --dataset where it lies) []",
        "error: absent is no complete training checkpoint and holds none []",
    ]
    assert heavy == "[]"


def test_an_interrupted_training_says_how_to_go_on(world, tiny_base, tmp_path, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(finetune_geo_ranker, "prepare", interrupt)
    assert finetune_geo_ranker.main(arguments(world, tiny_base, tmp_path)) == 130
    (line,) = capsys.readouterr().err.splitlines()
    assert "--continue_ckpt_path latest" in line


def test_several_gpus_need_a_launcher(world, tiny_base, tmp_path, monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(SystemExit, match="several GPUs need torchrun or deepspeed; for one, set CUDA_VISIBLE_DEVICES"):
        train(world, tiny_base, tmp_path)


def test_a_defect_shows_its_traceback(world, tiny_base, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("a defect")

    monkeypatch.setattr(finetune_geo_ranker, "prepare", fail)
    with pytest.raises(RuntimeError, match="a defect"):
        finetune_geo_ranker.main(arguments(world, tiny_base, tmp_path))


def test_quiet_leaves_results_and_problems(world, tiny_base, tmp_path, capsys):
    rows, _ = read_georanking(world / "train.parquet")
    rows[0].img_id = "gone"
    write_georanking(tmp_path / "rows.parquet", rows)
    train(world, tiny_base, tmp_path / "out", dataset=tmp_path / "rows.parquet", max_steps=1, quiet="")
    results, notes = capsys.readouterr()
    assert "'first_order_loss'" in results
    assert "gone: no photo gone" in notes
    assert "usable" not in notes
    assert "| 0/1 [" not in notes, "the bar of the steps"


def test_the_published_command_parses():
    published = [
        "--local_rank=0",
        "--model_path=Qwen/Qwen2-VL-7B-Instruct",
        "--model_save_path=xxx",
        "--group_size=7",
    ]
    args = finetune_geo_ranker.parse_arguments(published)
    assert Path(args.deepspeed) == ROOT / "deepspeed_config" / "zero2.json"
    assert args.rule == GroupRule(group_size=7)
    assert args.jpeg_quality == 75
    assert (args.learning_rate, args.lambda1, args.K, args.lora_r) == (1e-4, 0.7, 1, 16)
    assert (args.total_batch_size, args.num_samples, args.num_train_epochs) == (4, 100_000, 1)
    assert args.save_strategy == "steps"
    assert finetune_geo_ranker.parse_arguments(["--model_save_path", "x", "--K", "all"]).K is None
    assert finetune_geo_ranker.parse_arguments(["--model_save_path", "x"]).deepspeed is None


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--group_size 1", "group_size is 1"),
        ("--K 0", "argument --K"),
        ("--K 6", "K 6 is more than group_size 5"),
        ("--lambda1 1.5", "lambda1 1.5"),
        ("--easy_share 0.5:1.5 --gallery g.csv", "shares lie between 0 and 1"),
        ("--easy_share 0.5", "argument --easy_share"),
        ("--easy_share 0.5:0", "easy_share needs gallery"),
        ("--gallery g.csv --regional_km 1500", "--gallery, --regional_km: no use without --easy_share"),
        ("--eval_steps 500", "--eval_steps: no use without --eval_dataset"),
        ("--save_steps 500 --save_strategy no", "--save_steps: no use with --save_strategy no"),
        ("--feature_cache f --cache_image_features", "--cache_image_features: no use with --feature_cache"),
        ("--hard_pool 3", "hard_pool is 3"),
        ("--omit sky", "argument --omit"),
        ("--omit texts texts", "omit names a part twice"),
        ("--generated 5", "generated is 5"),
        ("--total_batch_size 4 --per_device_train_batch_size 3", "total_batch_size 4"),
        ("--total_batch_size 0", "total_batch_size 0"),
        ("--num_workers -1", "argument --num_workers"),
        ("--num_train_epochs 0", "argument --num_train_epochs"),
        ("--save_steps 0.5", "argument --save_steps"),
    ],
)
def test_nonsense_is_refused_with_a_reason(flags, message, capsys):
    with pytest.raises(SystemExit) as stop:
        finetune_geo_ranker.parse_arguments(["--model_save_path", "x", *flags.split()])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_fewer_rows_than_a_batch_is_an_error(world, tiny_base, tmp_path):
    with pytest.raises(SystemExit, match="16 usable rows are less than total_batch_size"):
        train(world, tiny_base, tmp_path, per_device_train_batch_size=17, total_batch_size=17)
