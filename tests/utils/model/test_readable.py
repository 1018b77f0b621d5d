from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils.candidates import Candidate, Query
from utils.model.readable import readable
from utils.photos.images import ImageError

NAMES = ("a", "b", "c", "d")
queries = st.builds(
    lambda image, shown: Query(image, tuple(Candidate(i, i, image=name) for i, name in enumerate(shown)), (), 1.0, 2.0),
    st.sampled_from(NAMES),
    st.lists(st.sampled_from([None, *NAMES]), max_size=6),
)


class Photos:
    """Those of ``NAMES`` but for the ``broken`` ones, in capitals; counts how often each is read."""

    def __init__(self, broken: set[str]) -> None:
        self.broken = broken
        self.read: list[str] = []

    def __call__(self, name: str) -> str:
        self.read.append(name)
        if name in self.broken:
            raise ImageError(f"{name} is broken")
        return name.upper()


@given(query=queries, broken=st.sets(st.sampled_from(NAMES)))
def test_candidates_cost_only_themselves(query, broken):
    photos = Photos(broken)
    shown, found, problems = readable(query, photos)
    kept = tuple(candidate for candidate in query.candidates if candidate.image not in broken)
    assert shown == replace(query, candidates=kept)
    assert found == {candidate.image: candidate.image.upper() for candidate in kept if candidate.image is not None}
    assert [(number, str(error)) for number, error in problems] == [
        (number, f"{candidate.image} is broken")
        for number, candidate in enumerate(query.candidates)
        if candidate.image in broken
    ]
    good = [name for name in photos.read if name not in broken]
    assert len(good) == len(set(good)), "a photo is read once"


@given(query=queries, broken=st.sets(st.sampled_from(NAMES)))
def test_one_store_for_query_and_candidates(query, broken):
    photos = Photos(broken)
    shown, found, problems = readable(query, photos, photos)
    if query.image in broken:
        assert (shown, found) == (replace(query, candidates=()), {})
        assert [(number, str(error)) for number, error in problems] == [(None, f"{query.image} is broken")]
        assert photos.read == [query.image]
    else:
        assert photos.read.count(query.image) == 1
        assert shown == readable(query, photos)[0]
        assert found == {query.image: query.image.upper()} | readable(query, photos)[1]


def test_two_stores_are_kept_apart_by_the_name_of_the_query():
    query = Query("a", (Candidate(0, 0, image="a"),))
    renamed = replace(query, image="query photo a")
    shown, found, problems = readable(renamed, lambda name: f"gallery {name}", lambda _: "query a")
    assert shown == renamed
    assert found == {"query photo a": "query a", "a": "gallery a"}
    assert problems == []


def test_other_errors_are_not_taken_for_an_unreadable_photo():
    def fails(name: str) -> str:
        raise RuntimeError("a defect")

    with pytest.raises(RuntimeError, match="a defect"):
        readable(Query("a", (Candidate(0, 0, image="b"),)), fails)
