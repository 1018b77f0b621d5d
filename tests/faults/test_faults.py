"""Whatever happens to a run, the next one ends with the results of a run that nothing happened to.

Each test does what the options say (``tests/conftest.py``): by default one round of seed 0; ``make faults`` plays for
ten minutes with a seed of its own, and prints it with the counts of what was done.
"""

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from tests.faults.bench import Bench
from tests.faults.jobs import Oracle, build_jobs
from tests.faults.runs import End, Runs
from tests.loopback import Response, serving
from utils.jobs.json_lines import read_json_lines

JOBS = ("evaluate", "quick_start", "retrieve", "lvlm", "finetune")


@pytest.fixture(scope="module")
def runs() -> Runs:
    return Runs()


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    return Oracle()


@pytest.fixture(scope="module")
def bench(tmp_path_factory, tiny_base, runs, oracle) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("faults")
    with serving(oracle) as server:
        jobs = build_jobs(folder, tiny_base, server.url)
        bench = Bench(runs, jobs, folder, oracle)
        bench.succeed("retrieve", folder)  # the index that quick_start searches
        yield bench


@pytest.fixture
def rounds(request) -> Iterator[np.random.Generator]:
    """Generators of random numbers, one a round, until the time is up; the first round is always played."""
    seconds, seed = (request.config.getoption(name) for name in ("--fault_seconds", "--fault_seed"))
    until = time.monotonic() + seconds

    def play() -> Iterator[np.random.Generator]:
        number = 0
        while number == 0 or time.monotonic() < until:
            yield np.random.default_rng([seed, number])
            number += 1

    return play()


def is_told(end: End) -> bool:
    """Whether a failed run said what was wrong instead of showing a traceback."""
    return end.code in (1, 130) and "Traceback" not in end.text and ("error: " in end.text or "problem: " in end.text)


@pytest.mark.parametrize("name", JOBS)
def test_killed_at_any_moment(bench, rounds, name, record_property) -> None:
    kills = 0
    for random in rounds:
        folder = bench.fresh(name)
        kills += sum(bench.kill(name, folder, random.uniform(0.05, 1.0)) for _ in range(3))
        bench.expect_whole(name, folder)
    record_property(f"kills of {name}", kills)


def test_no_stored_answer_is_lost_or_asked_for_again(bench, rounds, record_property) -> None:
    counts = Counter()
    for random in rounds:
        folder, stored = bench.fresh("lvlm"), set()
        for last in (False, False, False, True):
            asked = bench.oracle.asked.copy()
            if last:
                bench.expect_whole("lvlm", folder)
            else:
                counts["kills"] += bench.kill("lvlm", folder, random.uniform(0.3, 1.0))
            counts["again"] += sum(bench.oracle.asked[number] > asked[number] for number in stored)
            now = stored_answers(folder)
            counts["lost"] += len(stored - now)
            stored = now
        counts["stored"] += len(stored)
    assert (counts["again"], counts["lost"]) == (0, 0)
    record_property("answers stored, in runs that were killed", counts["stored"])
    record_property("stored answers that were lost", counts["lost"])
    record_property("stored answers that were asked for again", counts["again"])


def stored_answers(folder: Path) -> set[int]:
    """The numbers of the photos whose answers the journal in ``folder`` holds."""
    journal = folder / "generation.csv.jsonl"
    if not journal.exists():
        return set()
    with closing(read_json_lines(journal)) as records:
        return {int(record["IMG_ID"].split(".")[0]) for _, record in records if "IMG_ID" in record}


@pytest.mark.parametrize("name", JOBS)
def test_ctrl_c(bench, rounds, name, record_property) -> None:
    """One line and its exit code, unless the run had ended; what is done is kept and the same command goes on."""
    stops = 0
    for random in rounds:
        folder = bench.fresh(name)
        end = bench.interrupt(name, folder, random.uniform(0.2, 1.0))
        assert "Traceback" not in end.text, end.text
        assert (end.code, end.text.count("stopped")) in ((0, 0), (130, 1)), end.text
        stops += end.code == 130
        bench.expect_whole(name, folder)
    record_property(f"Ctrl-C in {name}", stops)


@pytest.mark.parametrize("name", JOBS)
def test_a_full_disk(bench, rounds, name, record_property) -> None:
    disks = 0
    for random in rounds:
        disks += 1
        folder = bench.fresh(name)
        end = bench.run(name, folder, file_size=int(bench.whole(name).largest * random.uniform(0, 1)))
        assert is_told(end), end.text
        bench.expect_whole(name, folder)
    record_property(f"full disks under {name}", disks)


@pytest.mark.parametrize("name", JOBS)
def test_two_at_once(bench, rounds, name, record_property) -> None:
    pairs = 0
    for random in rounds:
        pairs += 1
        folder = bench.fresh(name)
        started = []
        for _ in range(2):
            started.append(bench.start(name, folder))
            time.sleep(random.uniform(0, 0.5) * bench.whole(name).seconds)
        ends = [run.end() for run in started]
        assert any(end.code == 0 for end in ends), "\n".join(end.text for end in ends)
        for end in ends:
            assert end.code == 0 or is_told(end), end.text
        bench.expect_whole(name, folder)
    record_property(f"pairs of {name} at once", pairs)


@pytest.mark.parametrize("name", JOBS)
def test_a_file_cut_anywhere(bench, rounds, name, record_property) -> None:
    """What a stopped run left is cut: it is made anew, or its file is named; without the file all is well."""
    cuts = 0
    for random in rounds:
        folder = bench.fresh(name)
        bench.kill(name, folder, random.uniform(0.3, 1.1))
        files = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
        if not files:
            continue
        cuts += 1
        cut = files[int(random.integers(len(files)))]
        os.truncate(cut, int(random.integers(cut.stat().st_size)))
        end = bench.run(name, folder)
        if end.code == 0:
            assert bench.jobs[name].results(folder) == bench.whole(name).results, cut
        else:
            assert is_told(end), end.text
            assert cut.name in end.text or str(cut.parent) in end.text, (cut, end.text)
            shutil.rmtree(cut.parent) if cut.parent != folder else cut.unlink()
            bench.expect_whole(name, folder)
    record_property(f"files of {name} cut", cuts)


def test_a_hostile_server(bench, rounds, record_property) -> None:
    runs = 0
    for random in rounds:
        runs += 3
        folder = bench.fresh("lvlm")
        bench.oracle.fault = spoiling(random)
        try:
            for _ in range(3):
                end = bench.run("lvlm", folder)
                assert end.code == 0 or is_told(end), end.text
        finally:
            bench.oracle.fault = lambda response: response
        bench.expect_whole("lvlm", folder)
    record_property("runs with a hostile server", runs)


def spoiling(random: np.random.Generator) -> Callable[[Response], Response]:
    """Half of the responses come as they are; the others are errors, cut, late, or no completion."""
    broken: list[Callable[[Response], Response]] = [
        lambda response: Response(500, "<html>oops</html>"),
        lambda response: Response(429, {"error": {"message": "slow down"}}, {"Retry-After": "0.01"}),
        lambda response: response._replace(cut=True),
        lambda response: Response(200, '{"id": "x", "choi'),
        lambda response: Response(200, {"choices": []}),
        lambda response: response._replace(delay=3.0) if random.random() < 0.1 else response,
    ]

    def spoil(response: Response) -> Response:
        return broken[int(random.integers(len(broken)))](response) if random.random() < 0.5 else response

    return spoil
