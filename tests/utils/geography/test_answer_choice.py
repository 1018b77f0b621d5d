"""Answers with several places, or with one that they exclude: the one that is meant, or none."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.geography.answers import parse_answer

PARIS, LISBON = (48.85, 2.35), (38.72, -9.14)
FORMS = {
    "bare": "{}, {}",
    "named": "Latitude: {}, Longitude: {}",
    "json": '{{"latitude": {}, "longitude": {}}}',
}


def written(form: str, text: str) -> str:
    """``text`` with Paris for P and Lisbon for L, in one of FORMS."""
    return text.replace("P", FORMS[form].format(*PARIS)).replace("L", FORMS[form].format(*LISBON))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "text",
    [
        "not in Madrid (P). It is (L)",
        "It isn't Madrid (P); rather (L).",
        "(P) - no wait, correction: (L)",
        "It could be (P). However, the tiles point to (L).",
        "(P)\n\nActually, (L)",
        "(P)\n(L)",
        "(P). The second fits: (L)",
        "1. (P)\n2. (L)\n\nI choose 2.",
        "1. (P) - 20%\n2. (L) - 80%",
        "- (P): unlikely\n- (L): likely",
        "Answer: (P)\n\nQuestion: and this?\nAnswer: (L)",
        "Answer: (P)\n\nNote: the correct place is (L)",
        "Nicht Madrid (P), sondern (L).",
        "Ce n'est pas Madrid (P) mais (L).",
        "No es Madrid (P), sino (L).",
        "Não é Madrid (P). É (L).",
        "不是马德里(P), 而是(L)。",
        "~~(P)~~ (L)",
        "Example: (P). My guess: (L)",
    ],
)
def test_a_place_that_is_corrected_is_not_the_answer(text: str, form: str) -> None:
    assert parse_answer(written(form, text)) in (LISBON, None)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "text",
    [
        "It is not Madrid (P).",
        "This can't be Madrid (P).",
        "Improbable: Madrid (P)",
        "(P). Scratch that, it is somewhere else.",
        "(P)? No.",
        "(P) is wrong",
        "I thought of Madrid (P). My answer is Rome.",
        "500 km south of Madrid (P)",
    ],
)
def test_a_place_that_is_excluded_is_none(text: str, form: str) -> None:
    assert parse_answer(written(form, text)) is None


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "text",
    [
        "I first thought (P), but final answer: (L)",
        "Reasoning: it looks like (P).\n\nAnswer: (L)",
        "**Step 1:** perhaps (P), perhaps not.\n\n**Final Answer**\n\n(L)\n\n**Reasons:** (P) has no trams",
        "Answer: (P)\nFinal answer: (L)",
        "Zuerst dachte ich an (P). Antwort: (L)",
        "最初我以为是 (P)\n最终答案: (L)",
        "1. (L)\n2. (P)\n3. (P)",
        "My best guess is here: (L). Other options: (P)",
        "(L), or possibly (P)",
        "Answer: (L)\nReasoning: it resembles Madrid (P)",
        "I'm not sure, but my best guess is Lisbon (L).",
        "It is not a typical street, nor in Asia. Lisbon (L). I could be wrong, but not by much.",
        "Not sure. (L)",
    ],
)
def test_the_place_that_is_meant(text: str, form: str) -> None:
    assert parse_answer(written(form, text)) == LISBON


@pytest.mark.parametrize(
    ("answer", "place"),
    [
        ('It may be {"lat": 48.85, "lon": 2.35}. Or {"lat": 38.72, "lon": -9.14}', PARIS),
        ('[{"lat": 48.85, "lon": 2.35}, {"lat": 38.72, "lon": -9.14}]', PARIS),
        ('[{"lat": 48.85, "lon": 2.35}, {"lat": 38.72, "lon": ', PARIS),
        ('[{"lat": 48.85, "lon": 2.35, "p": 0.2, "confidence": 0.2}, {"lat": 3, "lon": 9, "confidence": 0.8}]', None),
        ('[{"lat": 48.85, "lon": 2.35, "rank": 2}, {"lat": 38.72, "lon": -9.14, "rank": 1}]', None),
        ('Rather Paris than Lisbon (38.72, -9.14).\n{"lat": 48.85, "lon": 2.35}', PARIS),
        ('{"lat": 48.85, "lon": 2.35}\nUpdate: 38.72, -9.14', None),
        ('{"rejected": {"lat": 48.85, "lon": 2.35}}', None),
        ('{"lat": 48.85, "lon": 2.35, "correct": false}', None),
        ('{"lat": 48.85, "lon": 2.35, "status": "rejected"}', None),
        ('[{"lat": 48.85, "lon": 2.35, "score": "20%"}, {"lat": 38.72, "lon": -9.14, "score": "80%"}]', None),
        ('[{"lat": 48.85, "lon": 2.35, "certainty": "low"}, {"lat": 3, "lon": 9, "certainty": "high"}]', None),
        ('{"guesses": [{"lat": 48.85, "lon": 2.35}, {"lat": 38.72, "lon": -9.14}], "best": 1}', None),
        ('{"lat": 48.85, "lon": 2.35, "is_correct": "no"}', None),
        ('{"lat": 48.85, "lon": 2.35, "lat_is_north": false}', None),
        ('{"lat": 48.85, "lon": 2.35} <- rejected', None),
        ('{"lat_min": 48.85, "lon_min": 2.35}', None),
        ('{"min_lat": 38.72, "max_lat": 48.85, "min_lon": -9.14, "max_lon": 2.35}', None),
        ('{"note": "Answer: x", "lat_dir": "S", "lat": 48.85, "lon": 2.35}', (-48.85, 2.35)),
    ],
)
def test_json_with_several_places_or_one_that_is_not_meant(answer: str, place: tuple | None) -> None:
    assert parse_answer(answer) == place


@pytest.mark.parametrize(
    "answer",
    [
        '{"latitude": 33.87, "longitude": 70.66, "signs": "--"}',
        '{"lat": 33.87, "lon": 70.66, "polarity": ["-", "-"]}',
        '{"lat": 33.87, "lon": 70.66, "latNegative": true}',
        "latitude 33.87 so., longitude 70.66 we.",
        "33.87° sth., 70.66° W",
        "3 3.87, -70.66",
        "Latitude: 3 3.87, longitude: -70.66",
        '{"latitude": 3 3.87, "longitude": -70.66}',
        "33.87 S, 7 0.66 W",
        "(-) 33.87, -70.66",
        "neg. 33.87, -70.66",
        "S33 52.2 W70 39.6",
        "3.3..87, -70.66",
        "lat. 33.87 merid., long. -70.66",
        "|rank|lat|lon|\n|2|48.85|2.35|\n|1|-33.87|-70.66|",
    ],
)
def test_odd_signs_and_split_numbers_give_no_other_place(answer: str) -> None:
    assert parse_answer(answer) in (None, pytest.approx((-33.87, -70.66), abs=1e-6))


@pytest.mark.parametrize(
    ("answer", "place"),
    [
        ('{"coordinates": [48.85, 2.35]}', PARIS),
        ('{"center": [-122.42, 37.77]}', None),  # latitude first, as nothing says otherwise
        ('{"type": "Point", "coordinates": [2.35, 48.85]}', PARIS),
    ],
)
def test_arrays_of_json(answer: str, place: tuple | None) -> None:
    assert parse_answer(answer) == place


places = st.tuples(st.decimals(-89, 89, places=3).map(float), st.decimals(-179, 179, places=3).map(float))


@settings(deadline=None, max_examples=60)
@given(places, places, st.sampled_from(sorted(FORMS)), st.data())
def test_of_two_places_never_the_first_unless_it_stands_for_both(first, second, form, data) -> None:
    """Whatever stands between them, what is read is one of both places, and after a correction not the first."""
    between = data.draw(st.sampled_from(["", "\n", " or ", " - no, ", ". Final answer: ", " is wrong. ", "; instead "]))
    texts = [FORMS[form].format(*(f"{part:.3f}" for part in place)) for place in (first, second)]
    place = parse_answer(f"({texts[0]}){between}({texts[1]})")
    near = pytest.approx(first, abs=0.02)
    if between == " or ":
        assert place in (None, first)
    else:
        assert place in (None, second) or second == near, json.dumps([texts, between])
