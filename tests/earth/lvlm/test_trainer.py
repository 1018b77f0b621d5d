import logging
import multiprocessing
import socket

import torch
import torch.distributed as dist

from earth.lvlm.trainer import LossLog, average_gradients, learning_rate


def test_learning_rate_rises_stays_and_falls_to_almost_nothing():
    rates = [learning_rate(step, 1000, 1.0, warmup=100) for step in range(1000)]
    assert rates[0] == 0.01
    assert rates[99] == rates[749] == 1.0
    assert 0 < rates[-1] < 0.01
    assert learning_rate(750, 1000, 1.0, fall=0.5) == 0.5


def test_log_says_means_since_its_last_line(caplog):
    caplog.set_level(logging.INFO)
    log = LossLog({"near": 1, "far": 1}, every=2, unit="groups", units=24)
    for step, losses in enumerate([(3.0, 2.0), (1.0, 4.0), (2.0, 8.0), (5.0, 5.0), (7.0, 7.0)], start=2):
        log.add(step, torch.tensor(losses))
    lines = caplog.messages
    assert lines[0].startswith("step 2  near 3.000  far 2.000  ")  # resumed after step 1
    assert lines[1].startswith("step 4  near 1.500  far 6.000  ")
    assert lines[2].startswith("step 6  near 6.000  far 6.000  ")
    assert all(line.endswith(" groups/s") for line in lines)


def average_in_process(rank: int, port: int) -> list[torch.Tensor]:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    generator = torch.Generator().manual_seed(rank)
    parameters = [torch.nn.Parameter(torch.zeros(3, 2)), torch.nn.Parameter(torch.zeros(4))]
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    average_gradients(parameters)
    dist.destroy_process_group()
    return [parameter.grad.tolist() for parameter in parameters]


def test_processes_average_their_gradients():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there = pool.apply_async(average_in_process, (1, port))
        here = average_in_process(0, port)
        assert there.get(120) == here
    generators = [torch.Generator().manual_seed(rank) for rank in range(2)]
    expected = [sum(torch.randn(shape, generator=own) for own in generators) / 2 for shape in ((3, 2), (4,))]
    for found, wanted in zip(here, expected, strict=True):
        torch.testing.assert_close(torch.tensor(found), wanted)
