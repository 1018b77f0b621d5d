"""Credit lines, and the ledger that has them."""

import csv
from pathlib import Path

import pytest

from utils.photos.credit import Credit
from utils.tables.ledger import COLUMNS, find_credits, ledger_path, ledgers_of, read_authors, read_credits

CREDITS = {
    "1.jpg": Credit('A, "B" & C', "7", "CC BY-SA 4.0", "https://there/", "https://here/1"),
    "2.jpg": Credit("", "", "", "", ""),
    "NA.jpg": Credit("nan", "NaN", "", "", "x\ny"),
}


@pytest.fixture
def ledger(tmp_path):
    path = tmp_path / "metadata.ledger.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for image_id, credit in CREDITS.items():
            writer.writerow([image_id, *vars(credit).values()])
    return path


def test_it_lies_beside_the_metadata():
    assert ledger_path("there/metadata.csv") == Path("there/metadata.ledger.csv")


def test_credits_of_some_photos(ledger):
    assert read_credits(ledger, ["NA.jpg", "1.jpg", "absent.jpg"]) == {
        name: CREDITS[name] for name in ("1.jpg", "NA.jpg")
    }
    assert read_credits(ledger, CREDITS) == CREDITS
    assert read_credits(ledger, []) == {}


def test_credits_of_several_ledgers(ledger, tmp_path):
    more, damaged = tmp_path / "more.ledger.csv", tmp_path / "damaged.ledger.csv"
    more.write_text(ledger.read_text().replace("1.jpg", "3.jpg"))
    damaged.write_bytes(ledger.read_bytes() + b"4.jpg,\xff,\n")
    (tmp_path / "damaged.csv").touch()
    assert ledgers_of([tmp_path / "damaged.csv", tmp_path / "without.csv"]) == [damaged]
    found, problems = find_credits([damaged, ledger, more], ["1.jpg", "3.jpg", "4.jpg"])
    assert found == {"1.jpg": CREDITS["1.jpg"], "3.jpg": CREDITS["1.jpg"]}
    (problem,) = problems
    assert problem.startswith(f"whose the gallery's photos are is not known: {damaged}: no ledger with columns")
    assert "\n" not in problem


def test_lines():
    assert CREDITS["1.jpg"].line == 'A, "B" & C, CC BY-SA 4.0 (https://there/), https://here/1'
    assert CREDITS["2.jpg"].line == "unknown author, licence not stated"


def test_authors(ledger):
    assert read_authors(ledger).to_dict() == {
        "author_id": {"1.jpg": "7", "2.jpg": None, "NA.jpg": "NaN"},
        "author": {"1.jpg": 'A, "B" & C', "2.jpg": None, "NA.jpg": "nan"},
    }
    ledger.write_text(",".join(COLUMNS) + "\n")
    assert read_authors(ledger).empty


def test_cells_longer_than_a_block(ledger, monkeypatch):
    monkeypatch.setattr("utils.tables.ledger.BLOCK", 256)
    long = {
        f"{number}.jpg": Credit("x" * (3000 if number == 40 else 9), str(number), "", "", "") for number in range(50)
    }
    with open(ledger, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *([name, *vars(credit).values()] for name, credit in long.items())])
    assert read_credits(ledger, long) == long
    assert read_authors(ledger)["author_id"].tolist() == [str(number) for number in range(50)]


def test_another_file_is_refused(tmp_path):
    for text in ("IMG_ID,LAT\n1,2\n", ""):
        (tmp_path / "t.csv").write_text(text)
        with pytest.raises(ValueError, match=r"t\.csv: no ledger with columns IMG_ID, author"):
            read_credits(tmp_path / "t.csv", ["1"])
