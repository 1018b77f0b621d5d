"""Both sides of the benchmarks give the same rewards, and their operations are those that torch counts."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from geopy.distance import great_circle
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import flops, measure, naive, pipeline, quality, ranking, training
from benchmarks.inputs import QUESTION_TOKENS, encode, synthetic_inputs
from benchmarks.models import load_ranker, with_language_head
from benchmarks.work import quality as quality_work
from utils.model import batch as packed_batch
from utils.model.adapter import add_lora
from utils.model.prompts import LAYOUTS, negative_examples, question
from utils.model.sharing import SHARINGS

SMALL = ["--preset", "tiny", "--photo", "112x84", "--candidate_photo", "56x84", "--queries", "2", "--repeats", "1"]
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def small_product(monkeypatch):
    monkeypatch.setitem(measure.MATMUL_SIZE, "cpu", 64)


@pytest.fixture
def make_inputs(tmp_path):
    def make(ranker, photo=(90, 60), candidate_photo=(60, 60), candidates=3):
        sizes = {"photo": photo, "candidate_photo": candidate_photo}
        return synthetic_inputs(tmp_path, ranker.packer.tokenizer, count=2, candidates=candidates, generated=1, **sizes)

    return make


@pytest.mark.parametrize("sharing", SHARINGS)
@pytest.mark.parametrize("script", [ranking, training, pipeline])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_small_run(tmp_path, capsys, script, layout, sharing):
    path = tmp_path / "results.json"
    few = ["--candidates", "2", "--generated", "1", "--layout", layout, "--sharing", sharing]
    script.main([*SMALL, *few, "--output", str(path)])
    results = json.loads(path.read_text())
    assert results["speedup"] == pytest.approx(results["naive"]["seconds"] / results["ours"]["seconds"])
    assert results["max_reward_difference"] < 1e-5 < results["reward_deviation"]
    assert (results["spearman"], results["kendall"], results["same_best"]) == (1, 1, 1)
    for side in ("ours", "naive"):
        assert results[side]["peak_mib"] > 0
        assert len(results[side]["runs"]) == 1
    assert "peak memory beyond weights, MiB" in capsys.readouterr().out


@pytest.mark.parametrize("script", [ranking, training])
def test_flops_only(capsys, script):
    script.main([*SMALL, "--preset", "7b", "--flops_only"])
    output = capsys.readouterr().out
    assert "arithmetic ceiling" in output
    assert "ms a" not in output


def test_gradient_checkpointing(tmp_path):
    path = tmp_path / "results.json"
    training.main([*SMALL, "--gradient_checkpointing", "--output", str(path)])
    assert json.loads(path.read_text())["speedup"] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--photo", "1024"], "'1024' is no WIDTHxHEIGHT"),
        (["--photo", "0x4"], "at least one pixel"),
        (["--queries", "0"], "argument --queries: 0: it is at least 1"),
        (["--candidates", "1", "--generated", "0"], "nothing to rank"),
    ],
)
def test_nonsense(capsys, arguments, message):
    with pytest.raises(SystemExit):
        ranking.main(arguments)
    assert message in capsys.readouterr().err


def test_texts_have_the_lengths_of_qwen2(make_inputs):
    ranker = load_ranker("tiny", "published", dtype=torch.float32, device="meta")

    def length(text: str) -> int:
        return len(ranker.packer.tokenizer(text)["input_ids"])

    queries, _, _ = make_inputs(ranker)
    for query in queries:
        assert length(negative_examples(query.negatives)) == 164
        *retrieved, generated = query.candidates
        assert {length(question(candidate) + ranker.packer.frame.tail) for candidate in retrieved} == {QUESTION_TOKENS}
        assert (generated.image, generated.texts) == (None, ())


@pytest.mark.parametrize("sharing", SHARINGS)
@pytest.mark.parametrize("preset", ["earth", "tiny"])
def test_operations_are_those_that_torch_counts(make_inputs, monkeypatch, preset, sharing):
    """But for rotary positions, of which torch counts a small product. Its counter knows the CPU's eager attention."""
    monkeypatch.setattr(packed_batch, "CALL_TOKENS", 1)
    ranker = load_ranker(preset, "negatives_first", dtype=torch.float32, device="cpu", attention="eager")
    inputs = make_inputs(ranker)
    queries, images = encode(inputs, ranker.packer)
    packed = ranker.packer.pack(queries, images)
    (prompts,) = (naive.with_positions(ranker, batch) for batch in naive.batches(ranker, *inputs_of_first(inputs)))
    stock = with_language_head(ranker)
    count = flops.FlopCounter(ranker.backbone.config)
    sides = {
        "ours": (lambda: ranker(packed, sharing), flops.shared(packed, sharing)),
        "naive": (lambda: naive.rewards(stock, ranker, prompts), flops.naive(prompts)),
    }
    for rewards, load in sides.values():
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            rewards()
        assert counter.get_total_flops() == pytest.approx(count.inference(load), rel=0.005)
    add_lora(ranker, r=4, dropout=0.0)
    for rewards, load in sides.values():
        with FlopCounterMode(display=False) as counter:
            rewards().sum().backward()
        assert counter.get_total_flops() == pytest.approx(count.training(load, 4), rel=0.005)


def inputs_of_first(inputs):
    queries, photos, gallery = inputs
    return queries[0], photos, gallery


def test_without_padding_is_one_at_a_time(make_inputs):
    ranker = load_ranker("tiny", "published", dtype=torch.float32, device="meta")
    inputs = make_inputs(ranker)
    queries, images = encode(inputs, ranker.packer)
    count = flops.FlopCounter(ranker.backbone.config)
    alone = [
        ranker.packer.collate([type(query)(query.prefix, [suffix])], images)
        for query in (ranker.packer.tokenize(query, images) for query in queries)
        for suffix in query.suffixes
    ]
    together = flops.shared_without_padding(ranker.packer.pack(queries, images))
    # Each alone reads the prefix, its own or the query's, once more.
    calls = [call for batch in alone for call in flops.shared(batch, "prefix_cache").calls]
    assert sorted(set(map(str, together.calls))) == sorted(set(map(str, calls)))
    (prompts,) = naive.batches(ranker, *inputs_of_first(inputs))
    assert sum(call.tokens for call in flops.naive_without_padding(prompts).calls) == prompts["attention_mask"].sum()
    assert count.inference(together) < count.inference(
        flops.shared(ranker.packer.pack(queries, images), "prefix_cache")
    )


def test_the_published_side_keeps_all_hidden_states_and_logits(make_inputs, monkeypatch):
    ranker = load_ranker("tiny", "published", dtype=torch.float32, device="cpu")
    (prompts,) = naive.batches(ranker, *inputs_of_first(make_inputs(ranker)))
    stock = with_language_head(ranker)
    outputs = []
    stock.register_forward_hook(lambda model, arguments, output: outputs.append(output))
    with torch.no_grad():
        naive.rewards(stock, ranker, prompts)
    (output,) = outputs
    rows, length = prompts["input_ids"].shape
    assert output.logits.shape == (rows, length, ranker.backbone.config.text_config.vocab_size)
    assert len(output.hidden_states) == 1 + ranker.backbone.config.text_config.num_hidden_layers
    assert prompts["attention_mask"][:, -1].all(), "padding stands on the left"
    assert len(prompts["image_grid_thw"]) == 2 * 3 + 1, "a copy of the query photo with each candidate"


def test_peak_memory_counts_tensors_alive_at_once():
    def work():
        first = torch.ones(2**20)  # 4 MiB
        second = first * 2  # 8 MiB together
        del first
        third = second + 1
        return third.sum()

    assert measure.peak_memory(work, CPU) == pytest.approx(2 * 4 * 2**20, rel=0.01)


def test_a_side_without_memory_is_left_out(caplog):
    def fails():
        raise torch.OutOfMemoryError("tried to allocate 1 EiB")

    results = {}
    returned = measure.compare({"ours": lambda: 1, "naive": fails}, 1, 2, CPU, results)
    assert returned == {"ours": 1}
    assert results["speedup"] is None
    assert results["naive"] == {"out_of_memory": True}
    assert results["ours"]["seconds"] > 0
    assert "naive: out of memory, left out: tried to allocate 1 EiB" in caplog.text
    measure.print_table("Ranking", "query", results)


def test_agreement():
    ours = [np.array([1.0, 2.0, 3.0]), np.array([3.0, 2.0, 1.0])]
    found = measure.agreement(ours, [np.array([1.0, 2.5, 3.0]), np.array([1.0, 2.0, 3.0])])
    assert found["max_reward_difference"] == 2
    assert (found["spearman"], found["kendall"], found["same_best"]) == (0, 0, 0.5)


def test_quality_of_both_sides(tmp_path, monkeypatch, make_inputs, capsys):
    ranker = load_ranker("earth", "negatives_first", dtype=torch.float32, device="cpu")
    queries, *stores = make_inputs(ranker, (64, 64), (64, 64))
    queries = [replace(query, latitude=1.0, longitude=2.0) for query in queries]
    monkeypatch.setattr(quality, "NEEDED", ())
    monkeypatch.setattr(quality_work, "earth_inputs", lambda count, **_: (queries[:count], *stores))
    path = tmp_path / "quality.json"
    quality.main(["--queries", "2", "--output", str(path)])
    results = json.loads(path.read_text())
    assert list(results["accuracy"]) == [
        f"{side}, {d}" for d in ("float32", "bfloat16") for side in ("ours", "published")
    ]
    assert results["accuracy"]["ours, float32"] == results["accuracy"]["published, float32"]
    exact, *rounded = results["agreement"].values()
    assert exact["max_reward_difference"] < 1e-4 < min(values["max_reward_difference"] for values in rounded)
    assert "same best candidate" in capsys.readouterr().out

    best = quality_work.accuracies(queries, [np.array([0.0, 3.0, 1.0, 2.0])] * 2)
    kilometres = [great_circle((1, 2), (q.candidates[1].latitude, q.candidates[1].longitude)).km for q in queries]
    assert best == [100 * np.mean([distance < km for distance in kilometres]) for km in (1, 25, 200, 750, 2500)]
