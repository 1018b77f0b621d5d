"""Training runs of a tiny model through the script: learning, resuming after a kill, several processes."""

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from PIL import Image
from safetensors.torch import load_file
from torch.nn.utils.rnn import pad_sequence
from transformers import EvalPrediction

import finetune_geo_ranker
from earth import build_dataset
from tests.naive import naive_rewards
from utils.candidates import Candidate, prompt_texts
from utils.geo_ranker import GeoRanker
from utils.geography.geodesy import haversine_km
from utils.model.adapter_info import AdapterInfo
from utils.model.features import EncodedPhotos
from utils.model.packing import image_key
from utils.model.prompts import PARTS
from utils.photos.store import ImageStore
from utils.photos.tar_index_pickle import write_tar_index
from utils.tables.metadata import read_metadata
from utils.training.batches import EvaluationGroups, GroupCollator, Groups, TrainingGroups, show
from utils.training.checkpoints import find_checkpoint
from utils.training.georanking import GeoRankingRow, read_georanking, write_georanking
from utils.training.groups import GroupRule, evaluation_group
from utils.training.losses import multi_order_loss
from utils.training.trainer import GroupMetrics, mean_terms

ROOT = Path(__file__).parent.parent
REFERENCES = 10


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """train.parquet (16 rows), val.parquet (4), photos/ and gallery.csv; a photo's colour tells its place."""
    folder = tmp_path_factory.mktemp("world")
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
    finetune_geo_ranker.main(arguments(world, base, output, **settings))
    return logged(output)


def logged(output: Path) -> list[dict]:
    history = json.loads((find_checkpoint(output) / "trainer_state.json").read_text())["log_history"]
    return [entry for entry in history if "loss" in entry]


def losses(entries: list[dict]) -> list[float]:
    return [entry["loss"] for entry in entries]


def free_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


def launcher(name: str) -> list[str]:
    """The command that starts two CPU processes of the script."""
    return {
        "deepspeed": ["deepspeed.launcher.runner", "--num_accelerators", "2", "--master_port", free_port()],
        "torchrun": ["torch.distributed.run", "--nproc_per_node", "2", "--master_port", free_port()],
    }[name]


def start(name: str, log: Path, arguments: list[str]) -> subprocess.Popen:
    """Two processes in a process group of their own, writing to ``log``."""
    command = [sys.executable, "-m", *launcher(name), str(ROOT / "finetune_geo_ranker.py"), *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    with log.open("w") as file:
        return subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )


def finish(process: subprocess.Popen, log: Path) -> None:
    try:
        code = process.wait(timeout=400)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert code == 0, log.read_text()[-5000:]


def adapters_equal(first: Path, second: Path, tolerance: float) -> bool:
    one, two = (load_file(folder / "adapter_model.safetensors") for folder in (first, second))
    return one.keys() == two.keys() and all(
        torch.allclose(one[name].float(), two[name].float(), atol=tolerance) for name in one
    )


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
        group = show(evaluation_group(row, GroupRule()), EncodedPhotos(store, ranker.packer))
        (rewards,) = ranker.score_queries([group.query], group.photos)
        expected.append(multi_order_loss(rewards, group.distances).item())
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
    plain = PeftModel.from_pretrained(
        GeoRanker.from_pretrained(tiny_base, layout=info.layout, device="cpu"), run
    ).eval()
    loaded = [GeoRanker.from_pretrained(tiny_base, folder, device="cpu") for folder in (run, run / "checkpoint-40")]
    store = ImageStore.from_paths([world / "photos"])
    row = read_georanking(world / "val.parquet")[0][0]
    group = show(evaluation_group(row, GroupRule()), EncodedPhotos(store, loaded[0].packer))
    expected = plain.get_base_model().score_queries([group.query], group.photos)[0]
    untrained = GeoRanker.from_pretrained(tiny_base, layout=info.layout, device="cpu")
    for ranker in loaded:
        assert torch.allclose(ranker.score_queries([group.query], group.photos)[0], expected, atol=1e-4)
    assert not torch.allclose(untrained.score_queries([group.query], group.photos)[0], expected, atol=0.1)


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
    rows, _ = read_georanking(world / "train.parquet")
    write_georanking(tmp_path / "bare.parquet", [replace(row, ref_texts=[[] for _ in row.ref_texts]) for row in rows])
    settings = {"max_steps": 3, "lora_dropout": 0}
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


def test_cached_features_and_gradient_checkpointing_change_no_loss(world, tiny_base, tmp_path):
    settings = {"max_steps": 3, "hard_pool": 8, "generated": 2, "lora_dropout": 0}
    plain = train(world, tiny_base, tmp_path / "plain", **settings)
    cached = train(world, tiny_base, tmp_path / "cached", cache_image_features="", **settings)
    kept = train(world, tiny_base, tmp_path / "kept", feature_cache=tmp_path / "features", **settings)
    packed = train(world, tiny_base, tmp_path / "packed", gradient_checkpointing="", **settings)
    assert losses(cached) == pytest.approx(losses(plain), rel=1e-4)
    assert losses(kept) == pytest.approx(losses(cached), rel=1e-6)
    assert losses(packed) == pytest.approx(losses(plain), rel=1e-4)


def test_workers_change_no_loss(world, tiny_base, tmp_path):
    settings = {"max_steps": 3, "hard_pool": 8, "gallery": world / "gallery.csv", "easy_share": "0.8:0.2"}
    alone = train(world, tiny_base, tmp_path / "alone", **settings)
    helped = train(world, tiny_base, tmp_path / "helped", num_workers=2, **settings)
    assert losses(helped) == pytest.approx(losses(alone), rel=1e-6)


def test_a_fresh_start_over_checkpoints_is_refused(world, tiny_base, tmp_path):
    """Else ``latest`` would later mean the one with the most steps, of whichever training."""
    settings = {"max_steps": 1, "save_steps": 1}
    train(world, tiny_base, tmp_path, **settings)
    with pytest.raises(SystemExit, match="has checkpoints of an earlier training: go on from them with"):
        train(world, tiny_base, tmp_path, **settings)


def test_resuming_in_the_second_epoch_equals_going_on(world, tiny_base, tmp_path):
    """bf16 and dropout included; 16 rows in batches of 4 are 4 steps an epoch."""
    settings = {"num_train_epochs": 3, "hard_pool": 8, "dtype": "bfloat16", "save_steps": 3}
    whole = train(world, tiny_base, tmp_path, **settings)
    weights = load_file(tmp_path / "adapter_model.safetensors")
    again = train(world, tiny_base, tmp_path, continue_ckpt_path=tmp_path / "checkpoint-9", **settings)
    assert losses(again) == pytest.approx(losses(whole), rel=1e-6)
    for name, weight in load_file(tmp_path / "adapter_model.safetensors").items():
        assert torch.equal(weight, weights[name])


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
    printed = capsys.readouterr().out
    assert "3 usable, 3 problems" in printed
    assert f"{rows[0].img_id}: no photo {rows[0].img_id}" in printed
    assert f"{rows[1].img_id}: no photo {rows[1].ref_img_id[2]}" in printed
    assert f"{rows[4].img_id}: 4 references, 6 needed" in printed
    assert f"{rows[2].img_id}: row left out" in caplog.text
    assert f"{rows[3].img_id}: candidate left out" in caplog.text
    assert rows[3].ref_img_id[1] in caplog.text
    assert f"{rows[5].img_id}: candidate left out: {rows[5].ref_img_id[3]}" in caplog.text


@pytest.fixture
def broken_jpegs(world, tmp_path) -> tuple[Path, list[str]]:
    """train.parquet and its photos in a tar: 4 broken, whose names are returned, as queries and as candidates."""
    rows, _ = read_georanking(world / "train.parquet")
    broken = [rows[2].img_id, rows[7].img_id, rows[3].ref_img_id[1], rows[5].ref_img_id[2]]
    rows[4].ref_img_id[1] = broken[3]  # a photo that two rows show
    rows[6].ref_img_id[1:5] = [broken[2]] * 4  # leaves one candidate
    write_georanking(tmp_path / "train.parquet", rows)
    store = ImageStore.from_paths([world / "photos"])
    with tarfile.open(tmp_path / "photos.tar", "w") as tar:
        for image_id in dict.fromkeys(name for row in rows for name in (row.img_id, *row.ref_img_id)):
            file = io.BytesIO()
            store.open(image_id).resize((64, 64)).save(file, "JPEG")
            data = file.getvalue()
            if image_id in broken:
                data = data[: len(data) // 2]
            member = tarfile.TarInfo(image_id)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    write_tar_index(tmp_path / "photos.tar", tmp_path / "tar_index.pkl")
    return tmp_path, broken


def test_broken_jpegs_cost_candidates_and_rows_and_are_named_once(
    broken_jpegs, world, tiny_base, tmp_path, capsys, caplog
):
    """Two epochs of 16 rows: 3 rows in each give way to the next one; whatever the workers do."""
    folder, broken = broken_jpegs
    settings = {"dataset": folder / "train.parquet", "image_path": folder / "photos.tar", "num_train_epochs": 2}
    alone = train(world, tiny_base, tmp_path / "alone", save_steps=3, **settings)
    printed = capsys.readouterr().out
    assert "train.parquet: 16 usable, 0 problems" in printed
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


def test_what_is_shown_instead_of_broken_photos(broken_jpegs, tiny_base):
    folder, broken = broken_jpegs
    rows, _ = read_georanking(folder / "train.parquet")
    ranker = GeoRanker.from_pretrained(tiny_base, device="cpu")
    photos = EncodedPhotos(ImageStore.from_paths([folder / "photos.tar"]), ranker.packer)
    groups = EvaluationGroups(rows, GroupRule(), photos)
    shown = [groups[number] for number in range(len(rows))]
    instead = {2: 3, 6: 8, 7: 8}
    assert [group.query.image for group in shown] == [rows[instead.get(i, i)].img_id for i in range(16)]
    lost = {2: [rows[3].ref_img_id[1]], 3: [rows[3].ref_img_id[1]], 4: [broken[3]], 5: [broken[3]]}
    for number, group in enumerate(shown):
        row = rows[instead.get(number, number)]
        kept = [image_id for image_id in row.ref_img_id[1:6] if image_id not in lost.get(number, [])]
        assert [candidate.image for candidate in group.query.candidates] == kept
        assert set(group.photos) == {row.img_id, *kept}
        assert len(group.distances) == len(kept)
        assert (group.distances < 0).all() == (number in instead), "a stand-in does not count"
    assert [(entry.photo, entry.is_row) for entry in shown[2].left_out] == [(broken[0], True), (broken[2], False)]
    assert [(entry.photo, entry.is_row) for entry in shown[6].left_out] == [
        *[(broken[2], False)] * 4,
        (None, True),
        (broken[1], True),
    ]
    assert shown[0].left_out == ()


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
    printed = capsys.readouterr().out
    assert "query_3.png: no photo query_3.png" in printed
    assert "15 usable, 1 problems" in printed


def test_epochs_show_every_row_once_in_a_new_order(world):
    rows, _ = read_georanking(world / "train.parquet")
    groups = TrainingGroups(rows, GroupRule(), None, batch_size=4, steps=8, seed=5)
    orders = []
    for epoch in range(2):
        groups.set_epoch(epoch)
        orders.append([groups.draw(number).image for number in range(len(groups))])
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(row.img_id for row in rows)
    assert orders[0] != orders[1]
    assert orders[0] != [groups.draw(number).image for number in range(len(groups))]
    other = TrainingGroups(rows, GroupRule(), None, batch_size=4, steps=8, seed=6)
    assert [other.draw(number).image for number in range(len(other))] != orders[0]


def test_a_row_without_photo_gives_its_place_to_the_next(world, tiny_base):
    ranker = GeoRanker.from_pretrained(tiny_base, device="cpu")
    rows, _ = read_georanking(world / "train.parquet")
    queries = [evaluation_group(row, GroupRule()) for row in rows[:3]]
    photos = EncodedPhotos(ImageStore.from_paths([world / "photos"]), ranker.packer)
    lost = [GeoRankingRow("gone", r.gps, r.ref_gps, r.ref_img_id, r.ref_texts) for r in rows[1:2]]
    queries[1] = evaluation_group(lost[0], GroupRule())
    groups = Groups(3, queries.__getitem__, photos)
    assert [groups[number].query.image for number in range(3)] == [
        "query_0.png",
        "query_2.png",
        "query_2.png",
    ]
    with pytest.raises(ValueError, match="usable photos"):
        Groups(1, lambda number: queries[1], photos)[0]


def test_collator_packs_groups_of_different_sizes(world, tiny_base):
    ranker = GeoRanker.from_pretrained(tiny_base, device="cpu")
    rows, _ = read_georanking(world / "train.parquet")
    photos = EncodedPhotos(ImageStore.from_paths([world / "photos"]), ranker.packer)
    groups = [
        show(evaluation_group(rows[0], GroupRule(group_size=4)), photos),
        show(evaluation_group(rows[1], GroupRule(group_size=2)), photos),
    ]
    batch = GroupCollator(ranker.packer)(groups)
    assert batch["packed"].group_sizes == [4, 2]
    one, two = (group.distances for group in groups)
    assert torch.equal(batch["distances"], torch.stack([one, torch.tensor([*two, -1.0, -1.0])]))
    with torch.no_grad():
        together = ranker(batch["packed"]).split([4, 2])
        alone = [ranker(GroupCollator(ranker.packer)([group])["packed"]) for group in groups]
    assert torch.allclose(pad_sequence(together), pad_sequence(alone), atol=1e-4)
    assert all(image_key(group.query.image) in group.photos for group in groups)


def test_stand_ins_and_ties_do_not_count_in_the_figures():
    rewards, distances = np.array([[3.0, 2.0, 1.0], [0.5, 0.1, 0.0]]), np.array([[5.0, 60.0, 900.0], [7.0, 7.0, 7.0]])
    metrics = GroupMetrics(0.7, 1)
    first = metrics(EvalPrediction(rewards[:1], distances[:1]))
    assert first["pairwise_accuracy"] == 100
    padded = metrics(EvalPrediction(np.repeat(rewards[:1], 2, 0), np.stack([distances[0], np.full(3, -1.0)])))
    assert padded == first
    assert metrics(EvalPrediction(rewards, distances))["pairwise_accuracy"] == 100

    terms = torch.tensor([[1.0, 2.0, 50.0], [3.0, 6.0, np.nan]])
    assert mean_terms(terms).tolist() == [2, 4, 50]


def test_find_checkpoint_passes_over_incomplete_ones(tmp_path):
    for step, state in ((900, "{}"), (1000, "{}"), (1100, '{"global_st'), (1200, None)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if state is not None:
            (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(state)
    assert find_checkpoint(tmp_path) == tmp_path / "checkpoint-1000"
    assert find_checkpoint(tmp_path / "checkpoint-900") == tmp_path / "checkpoint-900"
    with pytest.raises(FileNotFoundError, match="checkpoint-1200"):
        find_checkpoint(tmp_path / "checkpoint-1200")


def test_the_published_command_parses():
    published = [
        "--local_rank=0",
        "--model_path=Qwen/Qwen2-VL-7B-Instruct",
        "--model_save_path=xxx",
        "--group_size=7",
    ]
    args = finetune_geo_ranker.parse(published)
    assert Path(args.deepspeed) == ROOT / "deepspeed_config" / "zero2.json"
    assert args.rule == GroupRule(group_size=7)
    assert (args.learning_rate, args.lambda1, args.K, args.lora_r) == (1e-4, 0.7, 1, 16)
    assert (args.total_batch_size, args.num_samples, args.num_train_epochs) == (4, 100_000, 1)
    assert args.save_strategy == "steps"
    assert finetune_geo_ranker.parse(["--model_save_path", "x", "--K", "all"]).K is None
    assert finetune_geo_ranker.parse(["--model_save_path", "x"]).deepspeed is None


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
        ("--hard_pool 3", "hard_pool is 3"),
        ("--omit sky", "argument --omit"),
        ("--omit texts texts", "omit names a part twice"),
        ("--generated 5", "generated is 5"),
        ("--total_batch_size 4 --per_device_train_batch_size 3", "total_batch_size 4"),
        ("--total_batch_size 0", "total_batch_size 0"),
    ],
)
def test_nonsense_is_refused_with_a_reason(flags, message, capsys):
    with pytest.raises(SystemExit) as stop:
        finetune_geo_ranker.parse(["--model_save_path", "x", *flags.split()])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_fewer_rows_than_a_batch_is_an_error(world, tiny_base, tmp_path):
    with pytest.raises(SystemExit, match="16 usable rows are less than total_batch_size"):
        train(world, tiny_base, tmp_path, per_device_train_batch_size=17, total_batch_size=17)


@pytest.mark.parametrize("name", ["torchrun", "deepspeed"])
def test_two_processes_equal_one_with_twice_the_batch(world, tiny_base, tmp_path, name):
    """Data-parallel under torchrun, filling a feature cache together; under deepspeed ZeRO-3, every weight sharded."""
    settings = {
        "max_steps": 5,
        "hard_pool": 8,
        "lora_dropout": 0,
        "eval_dataset": world / "val.parquet",
        "eval_steps": 5,
    }
    config = json.loads((ROOT / "deepspeed_config" / "zero3.json").read_text())
    config["zero_optimization"]["stage3_param_persistence_threshold"] = 0
    (tmp_path / "zero3.json").write_text(json.dumps(config))
    extra = {"deepspeed": {"deepspeed": tmp_path / "zero3.json"}, "torchrun": {"feature_cache": tmp_path / "features"}}
    log = tmp_path / "log"
    pair = start(name, log, arguments(world, tiny_base, tmp_path / "two", **settings, **extra[name]))
    one = train(world, tiny_base, tmp_path / "one", per_device_train_batch_size=2, **settings)
    finish(pair, log)
    two = logged(tmp_path / "two")
    for term in ("loss", "first_order_loss", "second_order_loss", "pairwise_accuracy", "grad_norm"):
        assert [entry[term] for entry in two] == pytest.approx([entry[term] for entry in one], rel=1e-3)
    assert adapters_equal(tmp_path / "one", tmp_path / "two", 1e-3)
    evaluations = [
        [e for e in json.loads(path.read_text())["log_history"] if "eval_loss" in e]
        for path in (tmp_path / run / "checkpoint-5" / "trainer_state.json" for run in ("one", "two"))
    ]
    for figure in ("eval_loss", "eval_pairwise_accuracy", "eval_accuracy_25km", "eval_accuracy_200km"):
        assert evaluations[0][0][figure] == pytest.approx(evaluations[1][0][figure], rel=1e-3)


@pytest.fixture(scope="module")
def earth(tmp_path_factory) -> Path:
    """A small embedded world with train.parquet: the references of a photo are the gallery tiles nearest to it."""
    folder = tmp_path_factory.mktemp("earth")
    build_dataset.build(folder, (60, 1, 16, 1, 1), seed=0, workers=2)
    gallery, photos = (read_metadata(folder / split / "metadata.csv") for split in ("gallery", "train"))
    points = gallery[["LAT", "LON"]].to_numpy()
    rows = []
    for photo in photos.itertuples():
        near = np.argsort(haversine_km(photo.LAT, photo.LON, *points.T))[:REFERENCES]
        ids = [photo.IMG_ID, *gallery["IMG_ID"].iloc[near]]
        texts = [[], *(list(prompt_texts(gallery.iloc[i])) for i in near)]
        query = (photo.LAT, photo.LON)
        rows.append(GeoRankingRow(photo.IMG_ID, query, [query, *map(tuple, points[near].tolist())], ids, texts))
    write_georanking(folder / "train.parquet", rows)
    return folder


def test_deepspeed_killed_and_resumed_equals_uninterrupted(earth, tmp_path):
    """The shipped base on Earth: two CPU processes, ZeRO-2 as in the published command; with dropout."""
    settings = {
        "max_steps": 10,
        "hard_pool": 8,
        "save_steps": 2,
        "image_path": earth / "train" / "images",
        "image_data_path": earth / "gallery" / "images.tar",
    }
    whole, broken = tmp_path / "whole", tmp_path / "broken"

    def launch(output: Path, name: str, **more) -> tuple[subprocess.Popen, Path]:
        log = tmp_path / f"{name}.log"
        flags = arguments(earth, ROOT / "checkpoints" / "earth-base", output, **settings, **more)
        return start("deepspeed", log, flags), log

    finish(*launch(whole, "whole"))

    process, log = launch(broken, "broken")
    checkpoint = broken / "checkpoint-2" / "trainer_state.json"
    deadline = time.monotonic() + 300
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert checkpoint.exists(), log.read_text()[-5000:]
    assert not (broken / "adapter_model.safetensors").exists()

    finish(*launch(broken, "resumed", continue_ckpt_path="latest"))
    assert (broken / "checkpoint-10" / "global_step10").is_dir()  # DeepSpeed's own folder
    assert [entry["step"] for entry in logged(broken)] == list(range(1, 11))
    assert losses(logged(broken)) == pytest.approx(losses(logged(whole)), rel=1e-6)
    assert adapters_equal(whole, broken, 1e-6)
