import pytest

from earth.lvlm.pretrain_tower import main
from tests.earth.pretraining import check_learning, later_stage, runner


def test_only_the_tower_learns_and_a_resumed_run_ends_where_a_whole_one_does(monkeypatch, world, small_earth, capsys):
    run = runner(main, world, *later_stage(small_earth), "--batch_size", "9")
    check_learning(monkeypatch, run, lambda name: "visual" in name)
    assert "validation: nearest" in capsys.readouterr().out


def test_small_batches_are_refused(monkeypatch, world, small_earth):
    with pytest.raises(SystemExit):
        runner(main, world, *later_stage(small_earth))("none", "--batch_size", "8")
