from dataclasses import replace

from utils.candidates import Candidate, Query
from utils.tables.candidate_table import CandidateRow
from utils.tables.names import fill_names, name_generated


def test_candidates_without_names_get_those_of_the_nearest_place() -> None:
    """A name that is there stays, even beside empty ones; names that the prompt leaves out do not count."""
    known, unnamed = ["", "", "", "", "", "Austria"], ["Altstadt", "", "", "", "Alps", ""]
    rows = [
        CandidateRow("a", 0, 0, [(47.07, 15.44), (48.8566, 2.3522)], [known, unnamed], ["g0", "g1"]),
        CandidateRow("b", 0, 0, [(35.68, 139.77)], zs_gps=[(1, 2)]),
    ]
    (first, second), count = fill_names(rows)
    assert count == 2
    assert first.texts[0] == known
    assert first.texts[1][1::2] == ["Paris", "Île-de-France", "France"]
    assert second.texts[0][5] == "Japan"
    assert (first.images, second.zs_gps) == (["g0", "g1"], [(1, 2)])
    assert fill_names([first, second]) == ([first, second], 0)


def test_generated_candidates_are_named_where_asked() -> None:
    retrieved = Candidate(48.86, 2.35)
    named = Candidate(1.0, 2.0, ("somewhere",), source="generation")
    paris, tokyo = Candidate(48.86, 2.35, source="generation"), Candidate(35.68, 139.69, source="generation")
    before = [Query("a.jpg", (retrieved, paris)), Query("b.jpg", (named, tokyo), negatives=(tokyo,))]
    first, second = name_generated(before)
    assert first.candidates == (retrieved, replace(paris, texts=("Paris", "Île-de-France", "France")))
    assert second.candidates[0] == named
    assert second.candidates[1].texts[-1] == "Japan"
    assert second.negatives == (tokyo,)
    assert name_generated([first, second]) == [first, second]
