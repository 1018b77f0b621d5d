"""evaluate.py --backend vllm, against a server that computes what vLLM does of the converted adapter."""

import json
from pathlib import Path

import pandas as pd
import pytest

import evaluate
from tests.loopback import Response, serving
from tests.vllm_stand_in import StandIn
from tests.world import GENERATED, RETRIEVED, build_world, flags
from utils.serving.vllm_checkpoint import write_vllm_checkpoint

QUERIES = 4  # of those that there are
TOP = ["--topn", str(RETRIEVED), "--topn_zs", str(GENERATED), "--num_queries", str(QUERIES)]


@pytest.fixture(scope="module")
def world(tmp_path_factory, tiny_base) -> Path:
    folder = tmp_path_factory.mktemp("world")
    build_world(folder, tiny_base)
    write_vllm_checkpoint(folder / "adapter", folder / "served")
    return folder


@pytest.fixture(scope="module")
def stand_in(world) -> StandIn:
    return StandIn(world / "served")


def run(world: Path, base: Path, output: Path, *extra: str) -> tuple[int, dict]:
    """Exit code of evaluate.py, and metrics.json."""
    paths = flags(world, base)
    at = paths.index("--device")
    if "--base_url" in extra:
        paths = paths[:at] + paths[at + 2 :]
    code = evaluate.main([*paths, *TOP, "--output_dir", str(output), "--quiet", *extra])
    return code, json.loads((output / "metrics.json").read_text())


def test_the_report_is_that_of_our_engine(world, stand_in, tiny_base, tmp_path):
    code, ours = run(world, tiny_base, tmp_path / "ours")
    assert code == 0
    with serving(stand_in.respond) as server:
        served = "--backend", "vllm", "--base_url", server.url
        code, theirs = run(world, tiny_base, tmp_path / "theirs", *served)
    assert code == 0
    assert len(server.bodies) == 1 + QUERIES * (RETRIEVED + GENERATED)  # one asks what is there
    tables = [pd.read_csv(tmp_path / name / "predictions.csv") for name in ("ours", "theirs")]
    for first, second in zip(*(table["candidate_reward_lis"] for table in tables), strict=True):
        assert json.loads(second) == pytest.approx(json.loads(first), abs=1e-4)
    assert ours["num_queries"] == theirs["num_queries"] == QUERIES
    assert ours["rankers"]["model"] == theirs["rankers"]["model"]


def test_a_run_that_broke_off_goes_on(world, stand_in, tiny_base, tmp_path):
    served = "--backend", "vllm", "--process", "1", "--base_url"

    def broken(body: dict, number: int) -> Response:
        return (
            stand_in.respond(body, number) if number <= 21 else Response(401, {"error": {"message": "sk-own-key ends"}})
        )

    with serving(broken) as server, pytest.raises(SystemExit, match=r"error: AuthenticationError.*\[key\] ends"):
        run(world, tiny_base, tmp_path, *served, server.url, "--api_key", "sk-own-key")
    (log,) = tmp_path.glob("rewards.*.jsonl")
    done = len(log.read_text().splitlines())
    assert done == 20 // (RETRIEVED + GENERATED)
    with serving(stand_in.respond) as server:
        url = server.url.replace("//", "//user:pass-word@")
        assert run(world, tiny_base, tmp_path, *served, url, "--api_key", "sk-own-key")[0] == 0
        assert len(server.bodies) == 1 + (QUERIES - done) * (RETRIEVED + GENERATED)
    written = "".join(path.read_text() for path in tmp_path.iterdir() if path.suffix in (".json", ".jsonl", ".csv"))
    assert "sk-own" not in written
    assert "pass-word" not in written
    assert run(world, tiny_base, tmp_path)[0] == 0
    assert len(log.read_text().splitlines()) == 2 * QUERIES, "rewards of our engine are others"


def test_rewards_of_another_base_model_are_not_mixed_in(world, stand_in, tiny_base, tmp_path):
    """A checkpoint of the same adapter under another base, or of another dtype, has a name of its own."""

    def other(body: dict, number: int) -> Response:
        answer = stand_in.respond(body, number)
        answer.body["data"][0]["label"] = f"{stand_in.label[:-8]}00000000"
        return answer

    for respond in (stand_in.respond, other):
        with serving(respond) as server:
            assert run(world, tiny_base, tmp_path, "--backend", "vllm", "--base_url", server.url)[0] == 0
            assert len(server.bodies) == 1 + QUERIES * (RETRIEVED + GENERATED)
    one_checkpoint = pytest.raises(SystemExit, match="serve one checkpoint")
    with serving(stand_in.respond) as one, serving(other) as two, one_checkpoint:
        run(world, tiny_base, tmp_path, "--backend", "vllm", "--base_url", one.url, two.url)


def test_prompts_that_are_all_refused_are_no_fault_of_the_table(world, stand_in, tiny_base, tmp_path):
    """As with a --max-model-len that is too small; asked what it is, the server answers."""

    def refusing(body: dict, number: int) -> Response:
        if isinstance(body["messages"][0]["content"], list) and len(body["messages"][0]["content"]) == 1:
            return stand_in.respond(body, number)
        return Response(400, {"error": {"message": "longer than the maximum model length of 64"}})

    with serving(refusing) as server, pytest.raises(SystemExit) as stop:
        run(world, tiny_base, tmp_path, "--backend", "vllm", "--base_url", server.url)
    first, *lost = str(stop.value).splitlines()
    assert first == f"error: none of the {QUERIES} queries could be scored"
    assert lost[0].startswith("q0.jpg: candidate ")
    assert all("maximum model length" in line for line in lost[:-1])
    assert lost[-1] == f"{QUERIES * (RETRIEVED + GENERATED) - 20} more"


def test_another_adapter_ends_the_run(world, tiny_base, tmp_path, stand_in):
    def other(body: dict, number: int) -> Response:
        answer = stand_in.respond(body, number)
        answer.body["data"][0]["label"] = "georanker-0000000000000000"
        return answer

    with serving(other) as server, pytest.raises(SystemExit, match="error: the server's model is 'georanker-0000"):
        run(world, tiny_base, tmp_path, "--backend", "vllm", "--base_url", server.url)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("--backend vllm", "--backend vllm needs --base_url"),
        ("--backend vllm --base_url u --dtype float32 --max_tokens 9", "--max_tokens, --dtype: no use with --backend"),
        ("--base_url u", "--base_url: no use with --backend local"),
        ("--backend vllm --base_url u --ranker oracle", "--backend vllm: no use with --ranker oracle"),
    ],
)
def test_flags_that_do_not_go_together(extra, message, capsys):
    with pytest.raises(SystemExit):
        evaluate.parse_arguments(["--dataset", "earth", *extra.split()])
    assert message in capsys.readouterr().err


def test_one_process_asks(monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SystemExit):
        evaluate.parse_arguments(["--dataset", "earth", "--backend", "vllm", "--base_url", "u"])
    assert "--backend vllm runs in one process" in capsys.readouterr().err
