import pytest

from earth.lvlm.pretrain_lvlm import main
from tests.earth.pretraining import check_resuming, runner

FEW = ("--batch_size", "12", "--lessons", "4")


def test_a_resumed_run_ends_where_a_whole_one_does(monkeypatch, world, capsys):
    weights = check_resuming(monkeypatch, runner(main, world, *FEW))
    assert sum(tensor.numel() for tensor in weights.values()) < 10e6
    assert "nearest tile of validation photos: 25 km" in capsys.readouterr().out


def test_more_lessons_than_pairs_are_refused(world):
    with pytest.raises(SystemExit):
        runner(main, world, *FEW)("none", "--lessons", "13")
