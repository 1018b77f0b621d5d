"""The generation table: what an LVLM answered about each query.

The columns of the metadata table, and ``response``: a Python list of texts, or None. A reader returns what is usable,
and problems that name file, row, IMG_ID and column of what is not.
"""

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from utils.jobs.files import atomic_path
from utils.tables.cells import check_row, has_no_value, parse_list, read_rows, shortened


@dataclass(frozen=True)
class GenerationRow:
    """A row of the generation table: what an LVLM answered for one query, word for word."""

    img_id: str
    answers: tuple[str, ...]


def read_generation_table(path: str | os.PathLike) -> tuple[list[GenerationRow], list[str]]:
    """All rows of a generation table, and problems.

    A query without an answer (``None``, or a response that cannot be read) keeps its row, with no answers; an
    answer that is no text is dropped. Both are reported.
    """
    rows, problems = [], []
    for where, cells in read_rows(path, ["IMG_ID", "response"]):
        answers = []
        try:
            check_row(cells)
            if has_no_value(cells["response"]):
                raise ValueError("response: no answer")
            answers = parse_list(cells, "response")
        except ValueError as error:
            problems.append(f"{where}: {error}")
        for i, answer in enumerate(answers):
            if not isinstance(answer, str):
                problems.append(f"{where}: response[{i}]: {shortened(repr(answer))} is no text; answer dropped")
        rows.append(GenerationRow(cells["IMG_ID"], tuple(answer for answer in answers if isinstance(answer, str))))
    return rows, problems


def write_generation_table(
    path: str | os.PathLike, metadata: pd.DataFrame, answers: Mapping[str, Sequence[str]]
) -> None:
    """Write ``metadata`` and a ``response`` column: the ``answers`` by IMG_ID, None for a query without.

    A column ``response`` that ``metadata`` has already gives way to it.
    """
    response = [str(list(answers[name])) if name in answers else "None" for name in metadata["IMG_ID"]]
    table = metadata.drop(columns="response", errors="ignore").assign(response=response)
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        plain, quoting = (
            csv.writer(file, lineterminator="\n", quoting=how) for how in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL)
        )
        for row in (list(table), *table.itertuples(index=False, name=None)):
            # A lone carriage return would end the row, and the plain writer does not quote it.
            (quoting if any("\r" in str(cell) for cell in row) else plain).writerow(row)
