"""Time, memory and agreement of two sides, measured in one process."""

import json
import logging
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from scipy.stats import kendalltau, spearmanr
from torch.profiler import ProfilerActivity, profile

from benchmarks.flex import compiled_graphs
from utils.jobs.files import write_json

logger = logging.getLogger(__name__)

MIB = 2**20
MATMUL_SIZE = {"cuda": 8192, "cpu": 2048}
Result = TypeVar("Result")


def in_turn(
    sides: dict[str, Callable[[], Result]],
    repeats: int,
    device: torch.device,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[dict[str, list[float]], dict[str, Result]]:
    """Run every side once to warm up, then all of them one after the other ``repeats`` times.

    Returns the seconds of every run, by ``clock``, and the results of the last one. A side that runs out of memory is
    missing.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    results: dict[str, Result] = {}
    for _ in range(1 + repeats):
        for name in list(seconds):
            _synchronize(device)
            start = clock()
            try:
                results[name] = sides[name]()
                _synchronize(device)
                seconds[name].append(clock() - start)
            except torch.OutOfMemoryError as error:
                logger.warning("%s: out of memory, left out: %s", name, error)
                del seconds[name]
            if name not in seconds:  # what failed is released by now
                results.pop(name, None)
                torch.cuda.empty_cache()
    return {name: runs[1:] for name, runs in seconds.items()}, results


def peak_memory(work: Callable[[], Any], device: torch.device) -> int:
    """The most bytes of tensors that ``work`` holds at a time beyond what there is before it.

    CUDA's allocator counts them itself; on a CPU the profiler notes every allocation and release. Neither counts
    what an allocator keeps unused.
    """
    if device.type == "cuda":
        _synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        work()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder, "trace.json")
        profiled.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    changes = sorted((event["ts"], event["args"]["Bytes"]) for event in events if event.get("name") == "[memory]")
    return int(np.cumsum([0, *(size for _, size in changes)]).max())


def matmul_flops(dtype: torch.dtype, device: torch.device) -> float:
    """FLOP/s of a large square matrix product, the best of ten."""
    size = MATMUL_SIZE[device.type]
    left, right = torch.randn(2, size, size, device=device).to(dtype)
    seconds, _ = in_turn({"product": lambda: left @ right}, 10, device)
    return 2 * size**3 / min(seconds["product"])


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def agreement(ours: Sequence[np.ndarray], naive: Sequence[np.ndarray]) -> dict[str, float]:
    """How far the rewards of both sides are apart, query by query, and the mean rank correlations."""
    pairs = list(zip(ours, naive, strict=True))
    return {
        "max_reward_difference": max(float(np.abs(a - b).max()) for a, b in pairs),
        "reward_deviation": float(np.mean([b.std() for _, b in pairs])),
        "spearman": float(np.mean([spearmanr(a, b).statistic for a, b in pairs])),
        "kendall": float(np.mean([kendalltau(a, b).statistic for a, b in pairs])),
        "same_best": float(np.mean([a.argmax() == b.argmax() for a, b in pairs])),
    }


def compare(
    sides: dict[str, Callable[[], Result]], units: int, repeats: int, device: torch.device, results: dict[str, Any]
) -> dict[str, Result]:
    """Measure both sides, "ours" and "naive", into ``results``; returns what each of them returned.

    A run works on ``units`` queries or groups, and times are of one of them. ``speedup`` is None where a side ran
    out of memory.
    """
    results["machine"] = machine(device)
    seconds, returned = in_turn(sides, repeats, device)
    for name, runs in seconds.items():
        own = results.setdefault(name, {})
        own |= {"seconds": statistics.median(runs) / units, "per_second": units / statistics.median(runs)}
        own |= {"peak_mib": peak_memory(sides[name], device) / MIB, "runs": runs}
    for name in sides.keys() - seconds.keys():
        results.setdefault(name, {})["out_of_memory"] = True
    results["compiled_graphs"] = compiled_graphs()
    together = len(seconds) == len(sides)
    results["speedup"] = results["naive"]["seconds"] / results["ours"]["seconds"] if together else None
    return returned


def add_utilisation(results: dict[str, Any], dtype: torch.dtype, device: torch.device) -> None:
    """Operations a second of each side in ``results``, as a share of those of a large matrix product."""
    peak = results["matmul_tflops_per_second"] = matmul_flops(dtype, device) / 1e12
    for name in ("ours", "naive"):
        if "seconds" in results[name]:
            results[name]["utilisation"] = results[name]["tflops"] / results[name]["seconds"] / peak


def machine(device: torch.device) -> dict[str, Any]:
    cuda = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if cuda else platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }


def print_table(title: str, unit: str, results: dict[str, Any]) -> None:
    """Both sides beside each other; a side that ran out of memory has a dash."""
    ours, naive = results["ours"], results["naive"]
    print(f"\n{title}")
    print(f"{'':34}{'ours':>12}{'naive':>12}{'naive/ours':>12}")
    for name, label, scale in (
        ("seconds", f"ms a {unit}", 1e3),
        ("peak_mib", "peak memory beyond weights, MiB", 1),
        ("tokens", f"language tokens a {unit}", 1),
        ("tflops", f"TFLOP a {unit}", 1),
        ("utilisation", "of a matrix product's FLOP/s, %", 100),
    ):
        if not any(name in figures for figures in (ours, naive)):
            continue
        values = [figures[name] * scale if name in figures else None for figures in (ours, naive)]
        cells = ["-" if value is None else f"{value:,.0f}" if value >= 1000 else f"{value:.4g}" for value in values]
        ratio = "-" if None in values else f"{values[1] / values[0]:.2f}"
        print(f"{label:34}{cells[0]:>12}{cells[1]:>12}{ratio:>12}")
    if "flop_ratio_without_padding" in results:
        print(f"arithmetic ceiling, without padding: {results['flop_ratio_without_padding']:.2f}")
    if results.get("compiled_graphs"):
        print(f"compiled graphs: {results['compiled_graphs']}")
    if "max_reward_difference" in results:
        print(
            f"rewards: largest difference {results['max_reward_difference']:.2g} at a standard deviation of "
            f"{results['reward_deviation']:.2g}, Spearman {results['spearman']:.4f}, Kendall {results['kendall']:.4f}, "
            f"same best candidate in {results['same_best']:.1%}"
        )


def write(path: Path | None, results: dict[str, Any]) -> None:
    if path:
        write_json(path, results)
