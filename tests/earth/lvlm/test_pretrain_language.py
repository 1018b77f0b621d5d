import pytest

from earth.lvlm.pretrain_language import main
from tests.earth.pretraining import check_learning, later_stage, runner

FEW = ("--groups", "2", "--lessons", "2")


def test_only_the_language_model_learns_and_a_resumed_run_ends_where_a_whole_one_does(
    monkeypatch, world, small_earth, capsys
):
    run = runner(main, world, *later_stage(small_earth), *FEW)
    check_learning(monkeypatch, run, lambda name: "visual" not in name)
    assert "validation: first" in capsys.readouterr().out


def test_few_candidates_are_refused(monkeypatch, world, small_earth):
    with pytest.raises(SystemExit):
        runner(main, world, *later_stage(small_earth), *FEW)("none", "--group_size", "6")
