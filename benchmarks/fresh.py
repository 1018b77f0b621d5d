"""A function in a process of its own: what it returns, its seconds and its peak memory.

Memory is what Linux counts as the most that the process ever had resident. Pages of files that are mapped into memory
count while they are resident, though the system may drop them at any time.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
CALL = """
import importlib, json, re, sys, time
module, name, arguments = sys.argv[1:]
returned = vars(importlib.import_module(module))[name](**json.loads(arguments))
with open("/proc/self/status") as status:
    peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", status.read())[1])
print(json.dumps({"returned": returned, "peak_mib": peak / 1024, "processor_seconds": time.process_time()}))
"""


@dataclass(frozen=True)
class Outcome:
    """Of one process."""

    returned: Any  # as JSON has it
    seconds: float  # by the clock, from before the interpreter starts until it has ended
    peak_mib: float
    processor_seconds: float  # of all its threads


def own_mib() -> float:
    """MiB of this process that no file backs: pages of mapped files, which the system may drop, do not count."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+) kB", status)[1]) / 1024


def in_fresh_process(
    function: Callable[..., Any], environment: Mapping[str, str] | None = None, **arguments: Any
) -> Outcome:
    """Call ``function``, of a module's top level, with ``arguments`` that JSON can hold; it prints nothing.

    ``environment`` is added to this process's own. Raises ``ValueError``, with the last line of its errors, where the
    process fails.
    """
    words = [sys.executable, "-c", CALL, function.__module__, function.__name__, json.dumps(arguments)]
    start = time.perf_counter()
    done = subprocess.run(words, cwd=ROOT, env={**os.environ, **(environment or {})}, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        last = "".join(done.stderr.splitlines()[-1:])
        raise ValueError(f"{function.__module__}.{function.__name__} exited with {done.returncode}: {last}")
    return Outcome(**json.loads(done.stdout), seconds=seconds)
