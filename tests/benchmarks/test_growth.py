"""Counts grow as the prompts say, both sides agree, and what is measured already is not measured again."""

import json
from dataclasses import replace

import pytest
import torch

from benchmarks import flops, growth, naive
from benchmarks.inputs import encode, synthetic_inputs
from benchmarks.models import load_ranker
from benchmarks.tables import growth_tables
from benchmarks.work.growth import counted, grown_earth_inputs, naive_loads
from utils.candidates import Candidate, Query
from utils.model.prompts import LAYOUTS

TINY = ["--preset", "tiny", "--queries", "1", "--repeats", "1", "--dtype", "float32", "--device", "cpu", "--quiet"]


def run(folder, *flags: str) -> tuple[int, list[dict]]:
    path = folder / "growth.json"
    code = growth.main([*TINY, "--output", str(path), *flags])
    return code, json.loads(path.read_text())["points"]


def test_a_small_run_goes_on_where_it_was_stopped(tmp_path, capsys):
    flags = ["--photo", "56x56", "--layout", "published", "--candidates", "1", "3"]
    code, points = run(tmp_path, *flags, "--picture", str(tmp_path / "growth.png"))
    assert code == 0
    assert [point["candidates"] for point in points] == [1, 3]
    for point in points:
        assert point["max_reward_difference"] < 1e-5
        for side in ("ours", "naive"):
            assert min(point[side]["ms"], point[side]["peak_mib"]) > 0
    assert points[1]["naive"]["tokens"] == 3 * points[0]["naive"]["tokens"]
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")
    assert "| tiny, 56x56 | published | " in capsys.readouterr().out

    # Where nothing is affordable it is counted; what is there stays as it was measured.
    _, more = run(tmp_path, *flags, "--candidates", "1", "3", "40", "--minutes", "1e-9")
    assert more == points
    code, more = run(tmp_path, *flags, "--candidates", "40", "--most_tflops", "1e-9")
    assert (code, more[:2]) == (0, points)
    assert more[2]["ours"].keys() == more[2]["naive"].keys() == {"tokens", "tflops"}
    assert "| - / - |" in growth_tables(more)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_counts_are_those_of_the_real_inputs(tmp_path, layout):
    ranker = load_ranker("tiny", layout, dtype=torch.float32, device="meta")
    sizes = {"photo": (56, 84), "candidate_photo": (56, 84)}
    inputs = synthetic_inputs(tmp_path, ranker.packer.tokenizer, count=1, candidates=18, generated=0, **sizes)
    queries, images = encode(inputs, ranker.packer)
    found = counted(ranker, inputs, max_tokens=4_000)
    prompts = list(naive.batches(ranker, inputs[0][0], *inputs[1:]))
    patches = int(next(iter(images.values())).grid_thw.prod())
    assert list(naive_loads(ranker.packer.tokenize(queries[0], images), patches)) == list(map(flops.naive, prompts))
    assert found["naive"]["tokens"] == sum(batch["input_ids"].numel() for batch in prompts)

    # Of one batch, every further candidate adds its suffix; the prefix is there once.
    whole = ranker.packer.tokenize(queries[0], images)
    suffixes = [len(suffix.ids) for suffix in whole.suffixes]
    for count in (1, 5):
        few = ([replace(inputs[0][0], candidates=inputs[0][0].candidates[:count])], *inputs[1:])
        tokens = counted(ranker, few, max_tokens=32_768)["ours"]["tokens"]
        assert tokens == len(whole.prefix.ids) + count * max(suffixes[:count])
    assert found["ours"]["tokens"] > len(whole.prefix.ids) + sum(suffixes)  # split: the prefix is read again


def test_more_candidates_are_those_of_the_queries_after_it(monkeypatch):
    def query(number: int) -> Query:
        # The first candidate of every query but the first is the last of the one before it.
        images = [f"{20 * number + place - (number > 0)}.jpg" for place in range(20)]
        return Query(f"{number}", tuple(Candidate(0.0, 0.0, image=image) for image in images), ())

    monkeypatch.setattr("benchmarks.work.growth.earth_inputs", lambda count, *_: ([*map(query, range(count))], 1, 2))
    (first, second), *stores = grown_earth_inputs(2, 50)
    assert stores == [1, 2]
    assert [candidate.image for candidate in first.candidates[:20]] == [f"{number}.jpg" for number in range(20)]
    assert second.candidates[:20] == query(1).candidates
    for grown in (first, second):
        assert len({candidate.image for candidate in grown.candidates}) == len(grown.candidates) == 50
