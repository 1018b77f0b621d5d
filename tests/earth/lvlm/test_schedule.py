import argparse

import pytest
import torch

from earth.lvlm.schedule import LossLog, add_flags, learning_rate, parse


def test_learning_rate_rises_stays_and_falls_to_almost_nothing():
    rates = [learning_rate(step, 1000, 1.0, warmup=100) for step in range(1000)]
    assert rates[0] == 0.01
    assert rates[99] == rates[749] == 1.0
    assert 0 < rates[-1] < 0.01
    assert learning_rate(750, 1000, 1.0, fall=0.5) == 0.5


def test_log_prints_means_since_its_last_line(capsys):
    log = LossLog({"near": 1, "far": 1}, every=2, unit="groups", units=24)
    for step, losses in enumerate([(3.0, 2.0), (1.0, 4.0), (2.0, 8.0), (5.0, 5.0), (7.0, 7.0)], start=2):
        log.add(step, torch.tensor(losses))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("step 2  near 3.000  far 2.000  ")  # resumed after step 1
    assert lines[1].startswith("step 4  near 1.500  far 6.000  ")
    assert lines[2].startswith("step 6  near 6.000  far 6.000  ")
    assert all(line.endswith(" groups/s") for line in lines)


def test_a_fresh_start_over_a_checkpoint_is_refused(tmp_path, monkeypatch, capsys):
    parser = argparse.ArgumentParser()
    add_flags(parser, str(tmp_path / "run"), steps=1, peak=1.0, save_every=1, seed=0)
    monkeypatch.setattr("sys.argv", ["pretrain"])
    assert parse(parser).run.is_dir()
    (tmp_path / "run" / "checkpoint.pt").write_bytes(b"hours of work")
    with pytest.raises(SystemExit):
        parse(parser)
    assert "checkpoint.pt is of an earlier run: go on from it with --resume" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["pretrain", "--resume"])
    assert parse(parser).resume
