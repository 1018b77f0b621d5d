import json
from pathlib import Path

import pytest

from tests.loopback import completion, serving
from utils.generation import batch_files
from utils.generation.api import ApiModel, ask_all, encode_photo
from utils.generation.batch_files import BatchForm, read_results, write_requests
from utils.generation.journal import Journal, Reply

FORM = BatchForm("m", 2, 0.7, 50, 1024, "0123456789abcdef")
NAMES = [f"{number}.png" for number in range(5)]


@pytest.fixture
def journal(tmp_path: Path):
    with Journal(tmp_path / "journal", {"model": "m"}, 50) as journal:
        yield journal


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_requests_have_the_bodies_of_the_live_client(store, journal, tmp_path) -> None:
    with serving(lambda body, number: completion("one", "two")) as server:
        model = ApiModel("m", "sk-secret", server.url, 2, 0.7, 50)
        ask_all(model, NAMES, store, lambda reply: None, workers=1)
    files, problems = write_requests(tmp_path / "ask.jsonl", NAMES, store, FORM, journal)
    assert [file.name for file in files] == ["ask-00001.jsonl"]
    assert [problem.split()[0] for problem in problems] == ["2.png"]
    requests = lines(files[0])
    assert [request["body"] for request in requests] == server.bodies
    assert {(request["method"], request["url"]) for request in requests} == {("POST", "/v1/chat/completions")}
    assert [FORM.asked_by(request["custom_id"]) for request in requests] == [(1, f"{n}.png") for n in (0, 1, 3, 4)]
    assert [journal.lacks(name) for name in NAMES] == [False, False, True, False, False]


@pytest.mark.parametrize("limit", ["MOST_REQUESTS", "MOST_BYTES"])
def test_files_keep_within_the_limits(store, journal, tmp_path, monkeypatch, limit) -> None:
    """Two requests a file; numbers go on where the journal knows files, and files it does not know stay as they are."""
    whole = len(FORM.request(2, "0.png", encode_photo(store.open("0.png"), FORM.max_side)))
    monkeypatch.setattr(batch_files, limit, 2 if limit == "MOST_REQUESTS" else 2 * whole + whole // 2)
    (tmp_path / "ask-00001.jsonl").write_text("of another journal")
    files, _ = write_requests(tmp_path / "ask.jsonl", [*NAMES, "0.png"], store, FORM, journal, most_files=2)
    files += write_requests(tmp_path / "ask.jsonl", ["0.png"], store, FORM, journal)[0]
    assert [file.name for file in files] == [f"ask-0000{number}.jsonl" for number in (2, 3, 4)]
    photos = [[FORM.asked_by(request["custom_id"]) for request in lines(file)] for file in files]
    assert photos == [[(2, "0.png"), (2, "1.png")], [(3, "3.png"), (3, "4.png")], [(4, "0.png")]]
    assert (tmp_path / "ask-00001.jsonl").read_text() == "of another journal"


def test_a_request_that_is_too_large_has_a_file_of_its_own_and_is_named(store, journal, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(batch_files, "MOST_BYTES", 100)
    files, problems = write_requests(tmp_path / "ask.jsonl", ["0.png", "1.png"], store, FORM, journal)
    assert [len(lines(file)) for file in files] == [1, 1]
    assert [problem.partition(" bytes to ask about ")[2] for problem in problems] == [
        f"{number}.png, of 100: lower --max_side" for number in (0, 1)
    ]


def result(name: str, *contents: str | None, status: int = 200, error: object = None, **fields: object) -> str:
    body = completion(*contents, **fields).body if status == 200 else {"error": {"message": "too\nmany", "code": "x"}}
    response = None if error else {"status_code": status, "request_id": "r", "body": body}
    custom_id = json.loads(FORM.request(7, name, "data:"))["custom_id"]
    return json.dumps({"id": "b", "custom_id": custom_id, "response": response, "error": error})


def test_every_line_costs_only_itself(tmp_path) -> None:
    path = tmp_path / "results.jsonl"
    other = result("0.png", "a", "b").replace("0123456789ab", "x" * 12)
    given = [
        result("0.png", "a", None, finish="length", usage={"total_tokens": 7}),
        result("1.png", "a", "b", "c"),
        result("2.png", "only one"),
        "",
        result("3.png", status=429),
        result("4.png", error={"code": "batch_expired", "message": "too late"}),
        result("4.png", error={"code": "content_filter", "message": "no"}),
        result("9.png", "a", "b"),
        other,
        other,
        "[" * 100_000,
        "7",
        FORM.request(7, "0.png", "data:").decode().strip(),
        result("0.png", "a", "b").replace("choices", "chances"),
        result("0.png", "a", "b")[:-9],
    ]
    path.write_bytes("\n".join(given).encode() + b"\xff")
    told = list(read_results(path, FORM, frozenset(NAMES)))
    assert {one[0] for one in told if not isinstance(one, str)} == {7}
    found = [one if isinstance(one, str) else one[1] for one in told]
    assert found[:6] == [
        Reply("0.png", ("a", ""), tokens=7, cut=(0, 1)),
        Reply("1.png", ("a", "b")),
        Reply("2.png", problem="2.png: 1 answers, not 2: this server ignores n"),
        Reply("3.png", problem="3.png: too many"),
        Reply("4.png", problem="4.png: too late"),
        Reply("4.png", ("", "")),
    ]
    starts = [
        "line 8: 9.png is not in",
        "line 11: no JSON object",
        "line 12: no JSON object",
    ]
    assert [found[6 + n].startswith(f"{path}: {start}") for n, start in enumerate(starts)] == [True] * 3, found[6:9]
    assert found[9] == Reply("0.png", problem="0.png: not answered")
    assert found[10].problem.startswith("0.png: the response is no chat completion (KeyError)")
    assert found[11].startswith(f"{path}: line 15: no JSON object")
    assert found[12].startswith(f"{path}: line 9: custom_id 'xxxx")
    assert found[12].endswith("give the flags of the run that wrote it (and 1 more like it)")
    assert len(found) == 13


def test_the_journal_knows_what_batches_ask(tmp_path) -> None:
    """Over restarts: noted, released, answered."""

    def opened() -> Journal:
        return Journal(tmp_path / "journal", {"model": "m"}, 50)

    with opened() as journal:
        journal.note_batch("ask-00001.jsonl", ["a", "b", "c"])
        journal.note_batch("ask-00002.jsonl", ["d"])
        journal.release("a", 1)
        journal.release("d", 1)  # an old result, which knows nothing of the second file
        journal.release("e", 1)
        journal.add(Reply("b", ("x",)))
    with opened() as journal:
        assert journal.batches == {1, 2}
        assert journal.in_batches == {"c": 1, "d": 2}
        assert [journal.lacks(name) for name in "abcde"] == [True, False, False, False, True]
        assert journal.lacks_answers("c")
        assert list(journal) == ["b"]
