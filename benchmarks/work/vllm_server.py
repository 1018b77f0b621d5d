"""A vLLM server on this machine, for as long as a block runs."""

import os
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

PATIENCE = 900  # seconds until it answers
ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_SERVER_DEV_MODE": "1",  # has an endpoint that empties the prefix cache
}
BLOCK = 32  # tokens that the prefix cache keeps or leaves; 128 by default on a CPU, 16 on a GPU


@dataclass(frozen=True)
class VllmServer:
    url: str
    process: psutil.Process

    def metrics(self) -> dict[str, float]:
        """Counters of its ``/metrics`` by name, without the prefix ``vllm:``; of several kinds of one, their sum."""
        with urllib.request.urlopen(f"{self.url}/metrics") as answer:
            return counters(answer.read().decode())

    def forget(self) -> None:
        """Empty its prefix cache."""
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/reset_prefix_cache", method="POST")).close()

    def cpu_seconds(self) -> float:
        """That it and its processes have used."""
        times = [process.cpu_times() for process in (self.process, *self.process.children(recursive=True))]
        return sum(time.user + time.system for time in times)


def counters(text: str) -> dict[str, float]:
    """Those in a page of Prometheus's format, as ``VllmServer.metrics`` returns them."""
    found: dict[str, float] = {}
    for name, value in re.findall(r"^vllm:(\w+_total)(?:{.*})? (\S+)$", text, re.MULTILINE):
        found[name] = found.get(name, 0) + float(value)
    return found


@contextmanager
def serving(python: Path, checkpoint: Path, dtype: str, port: int, log: Path) -> Iterator[VllmServer]:
    """A server of ``checkpoint``; what it says goes into ``log``. Raises ``RuntimeError`` where it ends by itself."""
    # `vllm serve` is the same, but in vllm-cpu 0.32 it looks for a package called vllm and does not start.
    command = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(checkpoint), "--dtype", dtype]
    command += ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", "georanker"]
    with (
        open(log, "w") as file,
        subprocess.Popen(command, stdout=file, stderr=file, env=os.environ | ENVIRONMENT) as own,
    ):
        server = VllmServer(f"http://127.0.0.1:{port}", psutil.Process(own.pid))
        try:
            _await(server, own, log)
            yield server
        finally:
            own.terminate()


def _await(server: VllmServer, process: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if process.poll() is not None:
            lines = log.read_text().splitlines()
            raise RuntimeError(f"vLLM ended with {process.returncode}, see {log}: {lines[-1] if lines else ''}")
        try:
            urllib.request.urlopen(f"{server.url}/health").close()
            return
        except urllib.error.URLError:
            time.sleep(1)
    raise RuntimeError(f"vLLM did not answer within {PATIENCE} s, see {log}")
