import pytest

from utils.answer import Demand
from utils.page.words import briefly, problem, source, verdict

CHANCES = {1: 0.004, 25: 0.25, 200: 0.625, 750: 0.7, 2500: 0.995}


def test_probably_is_said_of_the_smallest_radius_that_is_likelier_than_not():
    found = verdict("61 km from Hay River, Canada", CHANCES, True)
    assert found == {
        "state": "likely",
        "before": "Probably within 200 km of this point (62%)",
        "title": "61 km from Hay River, Canada",
        "below": "",
    }
    assert verdict("x", CHANCES | {25: 0.5}, True)["before"] == "Probably within 25 km of this point (50%)"


def test_nothing_is_called_probable_that_is_not():
    found = verdict("Rome, Italy", dict.fromkeys(CHANCES, 0.49), True)
    assert found["state"] == "unlikely"
    assert found["before"] == "The best candidate; 49% within 2,500 km of this point"


def test_not_sure_is_a_state_of_its_own():
    found = verdict("Rome, Italy", CHANCES, False, Demand(0.905, 25))
    assert (found["state"], found["title"]) == ("unsure", "Not sure")
    assert found["below"] == (
        "Less sure than the 90.5% within 25 km that were demanded. The best candidate: Rome, Italy."
    )
    assert "what was demanded" in verdict("Rome, Italy", None, False)["below"]
    assert briefly(CHANCES, False) == "not sure"


@pytest.mark.parametrize("answered", [True, None])
def test_what_is_unknown_is_called_so(answered):
    found = verdict("Rome, Italy", None, answered)
    assert (found["state"], found["title"]) == ("unknown", "Rome, Italy")
    assert found["below"] == "How sure this is, is unknown."
    assert briefly(None, answered) == "confidence unknown"


def test_in_some_words():
    assert briefly(CHANCES, True) == "62% within 200 km"
    assert problem("b.jpg", "it is broken").items() >= {("title", "b.jpg"), ("below", "it is broken")}


@pytest.mark.parametrize("name", ["retrieval", "generation", "geoclip", "csv", "list"])
def test_where_a_candidate_comes_from_is_said_in_words(name):
    assert source(name) not in (name, "")
