"""The run of all GPU measurements, with small ones on the CPU."""

import argparse
import json

import pytest

from benchmarks import gpu, pipeline, quality, ranking, training
from tests.commands import Parsed

SMALL = "--preset tiny --photo 84x56 --candidate_photo 56x56 --candidates 2 --generated 1 --queries 1 --repeats 1"


def test_goes_on_after_a_failure_and_where_it_was_stopped(tmp_path, capsys, monkeypatch):
    planned = [
        ("done", ["ranking", *SMALL.split(), "--flops_only"]),
        ("broken", ["ranking", "--photo", "large"]),
        ("ranking", ["ranking", *SMALL.split(), "--device", "cpu"]),
    ]
    monkeypatch.setattr(gpu, "measurements", lambda presets, repeats: planned)
    (tmp_path / "done.json").write_text(json.dumps({"accuracy": {}}))
    assert gpu.main(["--output_dir", str(tmp_path)]) == 1
    printed, said = capsys.readouterr()
    assert "done: see done.txt" in printed
    assert "broken.txt" in said
    assert "'large' is no WIDTHxHEIGHT" in (tmp_path / "broken.txt").read_text()
    assert "times naive" in printed
    assert said.splitlines()[-1] == "problem: broken has no result"
    result = (tmp_path / "ranking.json").read_text()
    assert json.loads(result)["speedup"] > 0
    assert not (tmp_path / "done.txt").exists(), "what has a result is not measured again"

    planned.append(("late", ["ranking", *SMALL.split()]))
    assert gpu.main(["--output_dir", str(tmp_path), "--minutes", "0"]) == 1
    problems = [f"problem: {name} has no result" for name in ("broken", "late")]
    assert capsys.readouterr().err.splitlines()[-2:] == problems
    assert (tmp_path / "ranking.json").read_text() == result

    del planned[1], planned[-1]
    assert gpu.main(["--output_dir", str(tmp_path)]) == 0


def test_planned_measurements_have_names_of_their_own_and_are_accepted(monkeypatch):
    planned = list(gpu.measurements(["7b", "2b"], repeats=3))
    assert len({name for name, _ in planned}) == len({tuple(command) for _, command in planned}) == len(planned)
    assert planned[0][0] == "7b-ranking-500x375-negatives_first"
    parse = argparse.ArgumentParser.parse_args

    def parse_only(self, args=None, namespace=None):
        parse(self, args, namespace)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_only)
    scripts = {"ranking": ranking, "training": training, "pipeline": pipeline, "quality": quality}
    for _, (script, *arguments) in planned:
        with pytest.raises(Parsed):
            scripts[script].main(arguments)


def test_a_side_without_memory(tmp_path):
    result = {"speedup": None, "ours": {"seconds": 0.5, "peak_mib": 2000.0}, "naive": {"out_of_memory": True}}
    (tmp_path / "large.json").write_text(json.dumps(result))
    assert gpu.line("large", tmp_path) == "large: 500 ms, 2,000 MiB, naive out of memory"


def test_nonsense(tmp_path, capsys):
    with pytest.raises(SystemExit):
        gpu.main(["--output_dir", str(tmp_path), "--repeats", "0"])
    assert "argument --repeats: 0: it is at least 1" in capsys.readouterr().err
