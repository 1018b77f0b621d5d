from pathlib import Path

import pandas as pd
import pytest
from loopback import completion, serving

from lvlm_zs_predict import main
from utils.tables import read_generation_table

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
    metadata["city"] = "Bern"
    metadata.to_csv(tmp_path / "yfcc4k_places365.csv", index=False)
    return tmp_path


def answers(path: Path) -> dict[str, tuple[str, ...]]:
    return {row.img_id: row.answers for row in read_generation_table(path)[0]}


def test_published_command_and_what_a_second_run_asks(root: Path, capsys) -> None:
    def respond(body: dict, number: int) -> tuple[int, dict]:
        return (400, {"error": {"message": "no"}}) if number == 2 else completion(ANSWER, "no idea")

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
        given = (ANSWER, "no idea")
        assert answers(result) == {"0.jpg": given, "1.jpg": (), "2.jpg": (), "3.jpg": given, "4.jpg": given}
        table = pd.read_csv(result, keep_default_na=False)
        assert table["response"][1] == "None"
        assert table["city"].tolist() == ["Bern"] * 5
        output = capsys.readouterr()
        assert "problem: 1.jpg: BadRequestError" in output.err
        assert "problem: 2.jpg in " in output.err
        assert "3 places for 5 photos; 3 answers name no usable place" in output.out

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
    with pytest.raises(SystemExit, match="other settings"):
        run("whole.csv", "--temperature", "0.5")


def test_missing_key_and_missing_model_are_explained(root: Path, monkeypatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(SystemExit, match="api_key"):
        main([f"--root_path={root}", "--model_name=m"])
    for backend in ("api", "local"):
        with pytest.raises(SystemExit) as stopped:
            main([f"--root_path={root}", "--backend", backend])
        assert stopped.value.code == 2
