import argparse
import base64
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lvlm_zs_predict import main, parse_arguments
from tests.forks import ended, launch, start
from tests.loopback import Response, completion, serving
from utils.photos.images import open_image
from utils.tables.generation_table import read_generation_table

SCRIPT = Path(__file__).parent.parent / "lvlm_zs_predict.py"
KEY = "sk-secret"
ANSWER = '{"latitude": 1.5,"longitude": 2.5}'


@pytest.fixture
def root(tmp_path: Path, make_image) -> Path:
    """A benchmark folder with the published names: five photos, of which photo 2 is no image."""
    (tmp_path / "yfcc4k").mkdir()
    for number in range(5):
        make_image(24, 24, number).save(tmp_path / "yfcc4k" / f"{number}.jpg")
    (tmp_path / "yfcc4k" / "2.jpg").write_bytes(b"no image")
    metadata = pd.DataFrame({"IMG_ID": [f"{number}.jpg" for number in range(5)], "LAT": 1.25, "LON": 2.5})
    metadata["city"], metadata["S3_Label"] = "Bern", "nature"
    metadata.to_csv(tmp_path / "yfcc4k_places365.csv", index=False)
    return tmp_path


def answers(path: Path) -> dict[str, tuple[str, ...]]:
    return {row.img_id: row.answers for row in read_generation_table(path)[0]}


def test_published_command_and_what_a_second_run_asks(root: Path, capsys) -> None:
    def respond(body: dict, number: int) -> tuple[int, dict]:
        return (422, {"error": {"message": "no"}}) if number == 2 else completion(*given)

    given = (ANSWER, "no idea", "", *["no"] * 7)
    with serving(respond) as server:
        command = [
            f"--api_key={KEY}",
            "--model_name=org/some-vlm",
            f"--base_url={server.url}",
            f"--root_path={root}",
        ]
        command.append("--process=1")
        assert main(command) == 1
        result = root / "llm_predict_results_zs_some-vlm.csv"
        assert answers(result) == {"0.jpg": given, "1.jpg": (), "2.jpg": (), "3.jpg": given, "4.jpg": given}
        table = pd.read_csv(result, keep_default_na=False)
        assert table["response"][1] == "None"
        assert list(table) == ["IMG_ID", "LAT", "LON", "city", "S3_Label", "response"]
        assert table["city"].tolist() == ["Bern"] * 5
        assert table["S3_Label"].tolist() == ["nature"] * 5
        output = capsys.readouterr()
        assert "problem: 1.jpg: UnprocessableEntityError" in output.err
        assert re.search(r"2 failed, 0 refused, \d+ of about [\d.]+k? tokens", output.err)
        assert "problem: 2.jpg in " in output.err
        assert "3 places for 5 photos; 27 answers name no usable place, 3 of them are empty" in output.out

        assert len(server.bodies) == 4
        assert main(command) == 1  # photo 2 is still no image
        assert len(server.bodies) == 5
        assert answers(result) == dict.fromkeys(("0.jpg", "1.jpg", "3.jpg", "4.jpg"), given) | {"2.jpg": ()}
        assert server.bodies[0]["n"] == 10
        assert server.bodies[0]["temperature"] == 1.2
    for file in root.rglob("*"):
        assert file.is_dir() or KEY.encode() not in file.read_bytes()
    output = capsys.readouterr()
    assert KEY not in output.out + output.err


def test_a_device_that_is_none_is_refused_before_weights_are_read(root: Path) -> None:
    command = ["--backend", "local", "--model", str(root / "no_model"), "--root_path", str(root)]
    with pytest.raises(SystemExit, match=r"^error: device gpu: it is cpu, cuda or cuda:N"):
        main([*command, "--device", "gpu"])


def test_a_local_model_goes_on_where_it_stopped(root: Path, tiny_base: Path) -> None:
    def run(result: str, *more: str) -> int:
        command = [
            "--backend",
            "local",
            "--model",
            str(tiny_base),
            "--root_path",
            str(root),
            "--num_samples",
            "3",
        ]
        return main([*command, "--max_tokens", "5", "--batch_size", "2", "--result_path", result, *more])

    assert run("whole.csv") == 1
    journal = root / "whole.csv.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    (root / "rest.csv.jsonl").write_bytes(b"".join(lines[:2]) + lines[2][:9])
    assert run("rest.csv") == 1
    assert answers(root / "rest.csv") == answers(root / "whole.csv")
    assert {name: len(given) for name, given in answers(root / "whole.csv").items()} == {
        "0.jpg": 3,
        "1.jpg": 3,
        "2.jpg": 0,
        "3.jpg": 3,
        "4.jpg": 3,
    }
    for other in (["--temperature", "0.5"], ["--quantize", "8bit"]):
        with pytest.raises(SystemExit, match="other settings"):
            run("whole.csv", *other)
    assert run("quantised.csv", "--quantize", "8bit") == 1
    assert answers(root / "quantised.csv").keys() == answers(root / "whole.csv").keys()


def test_processes_share_the_photos(root: Path, tiny_base: Path, make_image) -> None:
    make_image(24, 24, 2).save(root / "yfcc4k" / "2.jpg")
    command = ["--backend", "local", "--model", str(tiny_base), "--root_path", str(root), "--num_samples", "2"]
    command += ["--max_tokens", "5", "--device", "cpu"]
    assert main([*command, "--result_path", "one.csv"]) == 0
    script = ["lvlm_zs_predict.py", *command, "--result_path", "two.csv"]
    log = root / "log"
    launcher = start(launch, "torchrun", ["--standalone", "--nproc_per_node", "2", *script], log=log)
    assert ended([launcher]) == [0], log.read_text()
    assert log.read_text().count("places for 5 photos") == 1
    assert answers(root / "two.csv") == answers(root / "one.csv")
    lines = [len((root / name).read_text().splitlines()) - 1 for name in ("two.csv.jsonl", "two.csv.jsonl.1")]
    assert sum(lines) == 5  # each was asked about once


def test_cut_answers_are_asked_for_again_with_more_tokens(root: Path, monkeypatch, capsys) -> None:
    def respond(body: dict, number: int) -> Response:
        if body["max_tokens"] == 8 and number < 4:
            kinds = {1: (ANSWER[:-1], None), 2: (ANSWER + " The sky", ANSWER), 3: ("", f"the key is {KEY[:7]}")}
            return completion(*kinds[number], finish="length" if number < 3 else "stop")
        return completion(ANSWER, "no idea")

    def run(tokens: int) -> int:
        with serving(respond) as server:
            flags = [f"--root_path={root}", "--model_name=m", "--num_samples=2", "--process=1"]
            assert main([*flags, f"--base_url={server.url}", f"--max_tokens={tokens}"]) == 1  # photo 2 is no image
        return len(server.bodies)

    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    table = root / "llm_predict_results_zs_m.csv"
    assert run(8) == 4
    whole = (ANSWER, "no idea")
    assert answers(table) == {
        "0.jpg": ("",),
        "1.jpg": (ANSWER + " The sky", ANSWER),
        "2.jpg": (),
        "3.jpg": ("", "the key is [key]"),
        "4.jpg": whole,
    }
    said = capsys.readouterr()
    assert "1 failed, 0 refused, 4 answers cut off" in said.err
    assert "3 places for 5 photos; 4 answers name no usable place, 1 of them are empty; 4 answers about" in said.out
    journal = table.with_name(f"{table.name}.jsonl")
    settings, first, *_ = map(json.loads, journal.read_text().splitlines())
    assert "max_tokens" not in settings
    assert first == {"IMG_ID": "0.jpg", "response": [ANSWER[:-1], ""], "max_tokens": 8, "cut": [0, 1]}
    assert KEY[:6] not in journal.read_text() + table.read_text() + said.err + said.out

    assert run(7) == run(8) == 0
    assert run(9) == 2
    assert answers(table) == {
        "0.jpg": whole,
        "1.jpg": whole,
        "2.jpg": (),
        "3.jpg": ("", "the key is [key]"),
        "4.jpg": whole,
    }
    assert run(100) == 0


def test_journals_with_the_token_limit_among_their_settings_are_continued(root: Path, monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    table = root / "llm_predict_results_zs_m.csv"
    settings = {"backend": "api", "model": "m", "num_samples": 1, "temperature": 1.2, "max_tokens": 5, "max_side": 1024}
    finished = [{"IMG_ID": f"{number}.jpg", "response": ["(1.5, 2.5"]} for number in (0, 1, 3)]
    lines = "".join(json.dumps(record) + "\n" for record in (settings, *finished))
    table.with_name(f"{table.name}.jsonl").write_text(lines)
    with serving(lambda body, number: completion("(3.5, 4.5)")) as server:
        flags = [f"--root_path={root}", "--model_name=m", "--num_samples=1", f"--base_url={server.url}"]
        assert main(flags) == 1
        assert len(server.bodies) == 1
    given = answers(table)
    assert given == {"2.jpg": (), "4.jpg": ("(3.5, 4.5)",)} | {f"{number}.jpg": ("(1.5, 2.5",) for number in (0, 1, 3)}


def test_a_second_run_on_one_result_file_is_refused(root: Path, monkeypatch) -> None:
    """The first one waits for its server meanwhile, and loses nothing."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    asked, go_on = threading.Event(), threading.Event()

    def respond(body: dict, number: int) -> Response:
        asked.set()
        go_on.wait(60)
        return completion("first")

    with serving(respond) as server:
        flags = [f"--root_path={root}", "--model_name=m", "--num_samples=1", f"--base_url={server.url}"]
        with subprocess.Popen([sys.executable, str(SCRIPT), *flags], stderr=subprocess.DEVNULL) as first:
            assert asked.wait(60)
            with pytest.raises(SystemExit, match=rf"m\.csv\.jsonl is being written by process {first.pid} on "):
                main(flags)
            go_on.set()
        assert first.returncode == 1
    given = answers(root / "llm_predict_results_zs_m.csv")
    assert given == {f"{number}.jpg": () if number == 2 else ("first",) for number in range(5)}


PHOTOS = 1000
AT_A_TIME = 8


def number_of(body: dict) -> int:
    """Which of the photos of ``many`` a request is about: its red channel counts by 20, its green one by 1."""
    url = body["messages"][0]["content"][1]["image_url"]["url"]
    red, green, _ = np.asarray(open_image(base64.b64decode(url.split(",")[1])), dtype=float).mean((0, 1))
    return round(red / 5) * 20 + round(green / 12)


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A benchmark folder of a thousand tiny photos."""
    (tmp_path / "yfcc4k").mkdir()
    for number in range(PHOTOS):
        Image.new("RGB", (8, 8), (number // 20 * 5, number % 20 * 12, 128)).save(tmp_path / "yfcc4k" / f"{number}.png")
    table = pd.DataFrame({"IMG_ID": [f"{number}.png" for number in range(PHOTOS)], "LAT": 1.25, "LON": 2.5})
    table.to_csv(tmp_path / "yfcc4k_places365.csv", index=False)
    return tmp_path


class FaultyServer:
    """Answers about photo i with its number, two samples a photo; one in sixteen first requests fails.

    Photo 777 is never answered. Once ``hold_at`` photos are answered it falls silent.
    """

    def __init__(self) -> None:
        self.asked = Counter()
        self.answered = Counter()
        self.hold_at = PHOTOS
        self.silent = threading.Event()

    def __call__(self, body: dict, _: int) -> Response:
        number = number_of(body)
        self.asked[number] += 1
        first, kind = self.asked[number] == 1, number % 64
        if number == 777:
            return Response(422, {"error": {"message": "I do not like it"}})
        if first and kind == 1:
            return Response(429, {"error": {"message": "slow down"}}, {"Retry-After": "0.02"})
        if first and kind == 2:
            return Response(500, "<html>oops</html>")
        if first and kind == 3:
            return completion("x" * 500)._replace(cut=True)
        if first and kind == 4:
            return Response(200, '{"id": "x", "choi')
        if first and number in (5, 500):
            return completion("too late")._replace(delay=60)
        if len(self.answered) >= self.hold_at and number not in self.answered:
            self.silent.set()
            return completion("too late")._replace(delay=60)
        if kind == 6:  # refuses
            contents = (None, None)
        elif kind == 7:  # knows no n
            contents = (f"{number / 20:f}, {number % 20:f}",)
        else:
            contents = (f'{{"latitude": {number / 20}, "longitude": {number % 20}}}', "not sure")
            contents += ("one too many",) * (kind == 8)
        self.answered[number] += 1
        return completion(*contents)


def test_nothing_is_lost_and_nothing_finished_is_asked_again(many: Path, monkeypatch, capsys) -> None:
    server_side = FaultyServer()
    journal = many / "llm_predict_results_zs_m.csv.jsonl"
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    def finished() -> set[int]:
        lines = journal.read_text().split("\n")[1:-1]
        return {int(json.loads(line)["IMG_ID"].removesuffix(".png")) for line in lines}

    with serving(server_side) as server:
        command = ["--model_name=m", f"--base_url={server.url}", f"--root_path={many}", "--num_samples=2"]
        command += [f"--process={AT_A_TIME}", "--timeout=2"]
        finished_before, asked_before = [], []

        def check_what_is_kept(hold_at: int) -> None:
            """What the server answered is on disk, but for the requests that were in flight."""
            finished_before.append(finished())
            asked_before.append(server_side.asked.copy())
            assert len(server_side.answered) >= hold_at
            assert len(server_side.answered.keys() - finished_before[-1]) <= AT_A_TIME

        def press_ctrl_c() -> None:
            if server_side.silent.wait(60):
                os.kill(os.getpid(), signal.SIGINT)

        server_side.hold_at = 300
        presser = threading.Thread(target=press_ctrl_c)
        # A shell starts what it runs in the background with Ctrl-C ignored.
        usual = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            presser.start()
            assert main(command) == 130
        finally:
            presser.join()
            signal.signal(signal.SIGINT, usual)
        assert "the same command goes on from there" in capsys.readouterr().err
        check_what_is_kept(300)

        server_side.hold_at = 600
        server_side.silent.clear()
        with subprocess.Popen([sys.executable, str(SCRIPT), *command], stderr=subprocess.DEVNULL) as process:
            assert server_side.silent.wait(60)
            process.kill()
        assert process.returncode == -signal.SIGKILL
        check_what_is_kept(600)

        server_side.hold_at = PHOTOS
        assert main(command) == 1
        asked_before.append(server_side.asked)

        # No run asked about a photo that an earlier one had finished.
        for done, (before, after) in zip(finished_before, pairwise(asked_before), strict=True):
            assert not done & (after - before).keys()
        assert finished() == set(range(PHOTOS)) - {777}
        # Stopping and killing had at most the requests in flight answered twice.
        twice = sum(count - (1 + (number % 64 == 7)) for number, count in server_side.answered.items())
        assert twice <= 2 * AT_A_TIME

    table = answers(many / "llm_predict_results_zs_m.csv")
    assert list(table) == [f"{number}.png" for number in range(PHOTOS)]
    for number, given in enumerate(table.values()):
        whole = f'{{"latitude": {number / 20}, "longitude": {number % 20}}}'
        short = f"{number / 20:f}, {number % 20:f}"
        if number == 777:
            assert given == ()
        elif number % 64 == 6:
            assert given == ("", "")
        else:
            assert given == ((short, short) if number % 64 == 7 else (whole, "not sure"))


def test_batch_files_and_live_runs_share_one_journal(root: Path, monkeypatch, capsys) -> None:
    """Half of a batch comes back, with an error and a cut line; a live run asks about the error only."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    flags = [f"--root_path={root}", "--model_name=m", "--num_samples=2"]
    requests, results = root / "requests.jsonl", root / "results.jsonl"
    assert main([*flags, f"--write_batch={requests}"]) == 1  # photo 2 is no image
    assert capsys.readouterr().out == f"{root / 'requests-00001.jsonl'}\n"
    ids = [json.loads(line)["custom_id"] for line in (root / "requests-00001.jsonl").read_text().splitlines()]
    assert len(ids) == 4

    def line(custom_id: str, status: int) -> str:
        body = completion(ANSWER, "no idea").body if status == 200 else {"error": {"message": "try later"}}
        return json.dumps({"custom_id": custom_id, "response": {"status_code": status, "body": body}, "error": None})

    given = [line(ids[0], 200), line(ids[1], 500), line(ids[0], 200), line(ids[2], 200)[:-20]]
    results.write_text("\n".join(given))
    assert main([*flags, "--read_batch", str(results)]) == 1
    said = capsys.readouterr()
    assert "problem: 1.jpg: try later" in said.err
    assert f"problem: {results}: line 4: no JSON object" in said.err
    table = root / "llm_predict_results_zs_m.csv"
    whole, nothing = (ANSWER, "no idea"), ()
    assert answers(table) == {"0.jpg": whole} | dict.fromkeys([f"{number}.jpg" for number in range(1, 5)], nothing)

    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with serving(lambda body, number: completion("live", "live")) as server:
        live = [*flags, f"--base_url={server.url}"]
        assert main(live) == 1
        assert len(server.bodies) == 1
        assert main([*flags, "--read_batch", str(results), str(root / "requests-00001.jsonl")]) == 1
        assert main(live) == 1
        assert len(server.bodies) == 3  # photos 3 and 4, which the request file says were asked and nobody answered
    assert answers(table) == {"0.jpg": whole, "2.jpg": ()} | dict.fromkeys(
        ("1.jpg", "3.jpg", "4.jpg"), ("live", "live")
    )
    assert main([*flags, f"--write_batch={requests}"]) == 1
    assert "nothing is left to ask" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="error"):
        main([*flags, "--read_batch", str(root / "nowhere.jsonl")])


def test_missing_key_and_missing_model_are_explained(root: Path, monkeypatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(SystemExit, match="no API key: set OPENAI_API_KEY"):
        main([f"--root_path={root}", "--model_name=m"])
    with pytest.raises(SystemExit, match="is no address such as"):
        main([f"--root_path={root}", "--model_name=m", f"--api_key={KEY}", "--base_url=localhost"])


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("--root_path=x", "--backend api needs --model_name"),
        ("--root_path=x --backend local", "--backend local needs --model"),
        ("--model_name=m", "--root_path or --dataset is needed"),
        ("--dataset im2gps3k --split val --model_name=m", "--split belongs to --dataset earth"),
        ("--root_path=x --model_name=m --seed 0 --model m", "--model, --seed: no use with --backend api"),
        ("--root_path=x --backend local --model m --read_batch x", "--read_batch: no use with --backend local"),
        ("--root_path=x --model_name=m --batch_files 2", "--batch_files belongs to --write_batch"),
        ("--root_path=x --backend local --model m --process 8", "--process: no use with --backend local"),
        ("--root_path=x --model_name=m --process 0", "--process: 0: it is at least 1"),
        ("--root_path=x --model_name=m --timeout nan", "--timeout: nan: it must be positive"),
        ("--root_path=x --model_name=m --num_samples -1", "--num_samples: -1: it is at least 1"),
    ],
)
def test_nonsense_is_refused(command: str, message: str, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(command.split())
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_defaults_of_the_datasets() -> None:
    def defaults(*command: str) -> argparse.Namespace:
        return parse_arguments([*command, "--model_name", "m"])

    earth = defaults("--dataset", "earth", "--split", "val")
    assert (earth.root_path, earth.text_path, earth.image_path) == (Path("dataset/earth/val"), "metadata.csv", "images")
    assert (earth.result_path, earth.model, earth.num_samples) == ("generation.csv", "checkpoints/earth-base", 3)
    assert defaults("--dataset", "earth", "--split", "check").root_path == Path("dataset/earth/check")
    published = defaults("--root_path", "x")
    assert (published.text_path, published.image_path) == ("yfcc4k_places365.csv", "yfcc4k")
    assert (published.result_path, published.num_samples) == ("llm_predict_results_zs_{model}.csv", 10)
    assert vars(published) | {"root_path": None, "dataset": None, "model": None} == vars(
        defaults("--dataset", "yfcc4k")
    ) | {"root_path": None, "dataset": None, "model": None}
    assert defaults("--dataset", "im2gps3k").image_path == "im2gps3ktest"
