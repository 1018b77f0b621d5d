"""The table of memory, on a small model: what is estimated beside what is measured."""

import json

import pytest

from benchmarks import memory


def test_estimates_stand_beside_what_is_measured(tmp_path, capsys):
    flags = "--preset tiny --photo 112x84 --candidates 2 --generated 1 --dtype float32 --device cpu --measure"
    assert memory.main([*flags.split(), "--output", str(tmp_path / "m.json")]) == 0
    rows = json.loads((tmp_path / "m.json").read_text())["rows"]
    assert [row["quantize"] for row in rows] == [None, "8bit", "4bit"]
    for row in rows:
        assert row["weights"] == pytest.approx(row["measured_weights"], rel=0.02)
        assert 0.3 < row["activations"] / row["measured_activations"] < 3
    table = capsys.readouterr().out
    assert table.count("| tiny | 112x84 |") == 3


def test_the_published_shapes():
    """Weights of Qwen2-VL-2B and 7B take on the hub 4.42 and 16.58 GB."""
    args = memory.parse_arguments(["--photo", "56x56", "--candidates", "1", "--generated", "0"])
    from benchmarks.work.memory import rows

    found = {row["preset"]: row["weights_with_head"] for row in rows(args) if row["quantize"] is None}
    assert found == {"2b": pytest.approx(4.42e9, rel=0.005), "7b": pytest.approx(16.58e9, rel=0.005)}
