import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from earth.lvlm.pretrain_language import average_gradients, main
from tests.earth.pretraining import check_learning, later_stage, runner

FEW = ("--groups", "2", "--lessons", "2")


def test_only_the_language_model_learns_and_a_resumed_run_ends_where_a_whole_one_does(monkeypatch, world, capsys):
    run = runner(monkeypatch, main, world, *later_stage(world), *FEW)
    check_learning(monkeypatch, run, lambda name: "visual" not in name)
    assert "validation: first" in capsys.readouterr().out


def test_few_candidates_are_refused(monkeypatch, world):
    with pytest.raises(SystemExit):
        runner(monkeypatch, main, world, *later_stage(world), *FEW)("none", "--group_size", "6")


def average_in_process(rank: int, port: int, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    generator = torch.Generator().manual_seed(rank)
    parameters = [torch.nn.Parameter(torch.zeros(3, 2)), torch.nn.Parameter(torch.zeros(4))]
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    average_gradients(parameters)
    torch.save([parameter.grad for parameter in parameters], folder / f"{rank}.pt")
    dist.destroy_process_group()


def test_processes_average_their_gradients(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(average_in_process, (port, tmp_path), nprocs=2)
    generators = [torch.Generator().manual_seed(rank) for rank in range(2)]
    expected = [sum(torch.randn(shape, generator=own) for own in generators) / 2 for shape in ((3, 2), (4,))]
    for rank in range(2):
        torch.testing.assert_close(torch.load(tmp_path / f"{rank}.pt", weights_only=True), expected)
