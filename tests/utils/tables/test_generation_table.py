"""Generation tables: exact round trips, and nothing bad that costs its neighbours."""

import csv
import math

import pandas as pd
import pytest

from utils.tables.generation_table import GenerationRow, read_generation_table, write_generation_table
from utils.tables.metadata import read_metadata, read_whole_metadata


def test_generation_table_round_trip(tmp_path):
    path = tmp_path / "generation.csv"
    answers = ['{"latitude": 1.0,"longitude": 2.0}', "I can't tell, it's \"somewhere\"\nsunny", "ü, 東京"]
    metadata = pd.DataFrame({"IMG_ID": ["007", "b", "c"], "LAT": [0.1 + 0.2, 1 / 3, math.pi], "LON": [1e-7, 2, 3]})
    write_generation_table(path, metadata, {"007": answers, "c": []})
    rows, problems = read_generation_table(path)
    assert rows == [GenerationRow("007", tuple(answers)), GenerationRow("b", ()), GenerationRow("c", ())]
    assert problems == [f"{path}: row 1 (b): response: no answer"]
    # The metadata is still there, to the last bit.
    assert read_metadata(path)[["IMG_ID", "LAT", "LON"]].equals(metadata)


def test_columns_that_nobody_knows_survive(tmp_path):
    """All in order, cells as they are; an older column of responses gives way to the new one."""
    rows = [
        ["", "IMG_ID", "AUTHOR", "LAT", "LON", "tags", "tags", "response", "S2"],
        ["0", "007", 'Jo, "JJ"', "46.10", "+7.0", "NA", "", "['old']", "1e400"],
        ["1", "b", " x ", "None", "", "two\nlines", "a\rb", "", "007"],
    ]
    path = tmp_path / "metadata.csv"
    with open(path, "w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows(rows)
    write_generation_table(tmp_path / "generation.csv", read_whole_metadata(path), {"b": ["somewhere"]})
    with open(tmp_path / "generation.csv", encoding="utf-8", newline="") as file:
        written = list(csv.reader(file))
    kept = [row[:7] + row[8:] for row in rows]
    assert written == [[*row, more] for row, more in zip(kept, ["response", "None", "['somewhere']"], strict=True)]


@pytest.mark.parametrize("response", ["None", "", "[unclosed", "open('secret')", "5", '"text"'])
def test_a_query_without_answers_keeps_its_row(write, response):
    cell = response.replace('"', '""')
    rows, problems = read_generation_table(write(f'IMG_ID,response\na,"{cell}"\nb,"[\'yes\']"\n'))
    assert rows == [GenerationRow("a", ()), GenerationRow("b", ("yes",))]
    [problem] = problems
    assert "table.csv: row 0 (a): response" in problem


def test_an_answer_that_is_no_text_is_dropped(write):
    rows, problems = read_generation_table(write("IMG_ID,response\na,\"['yes', None, nan, 'no']\"\n"))
    assert rows == [GenerationRow("a", ("yes", "no"))]
    assert ["response[1]" in problems[0], "response[2]" in problems[1], len(problems)] == [True, True, 2]
