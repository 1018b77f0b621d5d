"""Groups against the released rule written out, and their promises over random rows and rules."""

import geopy.distance
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.candidates import prompt_texts
from utils.model.prompts import negative_examples, question
from utils.training.georanking import GeoRankingRow
from utils.training.groups import EasyPool, GroupRule, draw_group, evaluation_group

REFERENCES = 20


def make_row(index: int = 0, references: int = REFERENCES, generated: int = 0) -> GeoRankingRow:
    """Row ``index``; every coordinate and id tells row and position, so that a mix-up shows."""
    gps = [(index + position / 100, -index - position / 100) for position in range(references)]
    return GeoRankingRow(
        img_id=f"query_{index}.jpg",
        gps=(index + 0.005, -index - 0.005),
        ref_gps=gps,
        ref_img_id=[f"ref_{index}_{position}.jpg" for position in range(references)],
        ref_texts=[[f"city {position}", "", "country"] for position in range(references)],
        zs_gps=[(-index - guess / 10, 90.0) for guess in range(generated)],
    )


def make_gallery(count: int = 400, seed: int = 3) -> EasyPool:
    generator = np.random.default_rng(seed)
    z = generator.uniform(-1, 1, count)
    points = np.column_stack([np.degrees(np.arcsin(z)), generator.uniform(-180, 180, count)])
    ids = [f"gallery_{position}.jpg" for position in range(count)]
    return EasyPool(ids, points, [(f"town {position}",) for position in range(count)])


def test_the_default_group_is_the_released_one():
    row = make_row(7, generated=3)
    query = draw_group(row, GroupRule(group_size=7), np.random.default_rng(0))
    assert query.image == "query_7.jpg"
    assert (query.latitude, query.longitude) == row.gps
    # 0 is skipped, 1..7 follow in order; the last five references are the negatives, without photo.
    assert [candidate.image for candidate in query.candidates] == [f"ref_7_{k}.jpg" for k in range(1, 8)]
    assert [(c.latitude, c.longitude) for c in query.candidates] == row.ref_gps[1:8]
    assert query.candidates[0].texts == ("city 1", "", "country")
    assert [(c.latitude, c.longitude) for c in query.negatives] == row.ref_gps[15:]
    assert [c.texts for c in query.negatives] == [tuple(texts) for texts in row.ref_texts[15:]]
    assert all(candidate.image is None for candidate in query.negatives)


NAMES = [[], ["", ""], ["A", "", "B"], ["", "C"], ["D", "E"]]


def rows_of_names() -> GeoRankingRow:
    row = make_row(references=6)
    row.ref_texts[1:] = NAMES
    return row


def released_place(point: tuple[float, float], names: list[str]) -> str:
    """What the original's training writes of a place."""
    return f"latitude: {point[0]}, longitude: {point[1]}, {' '.join(names)}"


def test_published_training_joins_the_names_of_a_row_as_they_are():
    row = rows_of_names()
    for query in (draw_group(row, GroupRule(), np.random.default_rng(0)), evaluation_group(row, GroupRule())):
        expected = [released_place(*pair) for pair in zip(row.ref_gps[1:], NAMES, strict=True)]
        assert [question(c) for c in query.candidates] == [f"How far is this place from {text}?" for text in expected]
        assert negative_examples(query.negatives) == "Negative examples: " + "; ".join(expected)
    assert question(query.candidates[0]).endswith(", ?")
    assert "A  B" in question(query.candidates[2])


def test_other_training_drops_empty_names_as_tables_do():
    rule = GroupRule(drop_empty_names=True)
    for query in (draw_group(rows_of_names(), rule, np.random.default_rng(0)), evaluation_group(rows_of_names(), rule)):
        for candidates in (query.candidates, query.negatives):
            texts = [candidate.texts for candidate in candidates]
            assert texts == [
                prompt_texts(dict(zip(("city", "state", "country"), [*names, "", "", ""][:3], strict=True)))
                for names in NAMES
            ]
    assert question(query.candidates[0]) == "How far is this place from latitude: 0.01, longitude: -0.01?"


def test_the_released_rule_needs_no_chance():
    groups = [draw_group(make_row(), GroupRule(), np.random.default_rng(seed), 0.5) for seed in range(5)]
    assert all(group == groups[0] for group in groups)


def test_the_default_rule_is_the_published_default():
    assert (GroupRule().pool, GroupRule().generated, GroupRule().easy_share) == (5, 0, (0.0, 0.0))


@settings(deadline=None, max_examples=50)
@given(
    size=st.integers(2, 10),
    extra=st.integers(0, 5),
    generated=st.integers(0, 9),
    guesses=st.integers(0, 6),
    seed=st.integers(0, 2**32 - 1),
)
def test_hard_groups_come_from_the_pool_and_the_guesses(size, extra, generated, guesses, seed):
    generated = min(generated, size - 1)
    rule = GroupRule(group_size=size, hard_pool=size + extra, generated=generated)
    row = make_row(4, generated=guesses)
    query = draw_group(row, rule, np.random.default_rng(seed))
    retrieved = [candidate for candidate in query.candidates if candidate.source == "retrieval"]
    made_up = [candidate for candidate in query.candidates if candidate.source == "generation"]
    assert len(query.candidates) == size
    assert len(made_up) == min(generated, guesses)
    assert {candidate.image for candidate in retrieved} <= {f"ref_4_{k}.jpg" for k in range(1, size + extra + 1)}
    assert len({candidate.image for candidate in retrieved}) == len(retrieved)
    places = [(candidate.latitude, candidate.longitude) for candidate in made_up]
    assert set(places) <= set(row.zs_gps)
    assert len(set(places)) == len(places)
    assert all(candidate.image is None and candidate.texts == () for candidate in made_up)
    assert query == draw_group(row, rule, np.random.default_rng(seed))


def test_every_member_of_the_pool_is_drawn_equally_often():
    rule = GroupRule(group_size=4, hard_pool=12)
    generator = np.random.default_rng(0)
    counts = dict.fromkeys((f"ref_0_{k}.jpg" for k in range(1, 13)), 0)
    for _ in range(3000):
        for candidate in draw_group(make_row(), rule, generator).candidates:
            counts[candidate.image] += 1
    # 1000 expected each; the standard deviation of a count is 26.
    assert all(abs(count - 1000) < 130 for count in counts.values())


@settings(deadline=None, max_examples=50)
@given(
    size=st.integers(2, 10),
    km=st.floats(200, 4000),
    latitude=st.floats(-90, 90),
    longitude=st.floats(-180, 180),
    seed=st.integers(0, 2**32 - 1),
)
def test_easy_groups_are_retrieved_then_regional_then_random(size, km, latitude, longitude, seed):
    rule = GroupRule(group_size=size, hard_pool=12, easy_share=(1.0, 1.0), regional_km=km)
    row = make_row()
    row.gps = (latitude, longitude)
    gallery = make_gallery()
    query = draw_group(row, rule, np.random.default_rng(seed), 0.0, gallery)
    assert query == draw_group(row, rule, np.random.default_rng(seed), 0.0, gallery)
    images = [candidate.image for candidate in query.candidates]
    assert len(images) == len(set(images)) == size
    retrieved = [image for image in images if image.startswith("ref_")]
    assert 1 <= len(retrieved) <= min(3, size - 1)
    assert set(retrieved) <= set(row.ref_img_id[1:13])
    assert images[: len(retrieved)] == retrieved
    # Half of the others, rounded up, are regional as far as the region has photos (geopy as the judge).
    spherical = [geopy.distance.great_circle(row.gps, tuple(point)).km for point in gallery.points]
    region = {gallery.ids[position] for position, km_away in enumerate(spherical) if km_away <= km}
    wanted = min((size - len(retrieved) + 1) // 2, len(region))
    assert set(images[len(retrieved) : len(retrieved) + wanted]) <= region


def test_easy_share_runs_linearly_and_is_kept():
    rule = GroupRule(group_size=6, easy_share=(0.8, 0.2))
    assert [rule.easy_share_at(progress) for progress in (0, 0.5, 1)] == pytest.approx([0.8, 0.5, 0.2])
    gallery, generator = make_gallery(), np.random.default_rng(1)
    for progress, share in ((0.0, 0.8), (1.0, 0.2)):
        groups = [draw_group(make_row(), rule, generator, progress, gallery) for _ in range(1000)]
        easy = sum(group.candidates[-1].image.startswith("gallery_") for group in groups)
        assert abs(easy / 1000 - share) < 0.05  # four standard deviations


def test_an_easy_group_never_holds_the_query_or_a_candidate_twice():
    row = make_row()
    points = np.array([row.gps, *row.ref_gps, (50.0, 50.0)])
    ids = [row.img_id, *row.ref_img_id, "only.jpg"]
    gallery = EasyPool(ids, points, [()] * len(ids))
    rule = GroupRule(group_size=8, easy_share=(1.0, 1.0))
    for seed in range(20):
        images = [c.image for c in draw_group(row, rule, np.random.default_rng(seed), 0, gallery).candidates]
        assert len(images) == len(set(images))
        assert row.img_id not in images
        assert images[-1] == "only.jpg"


def test_easy_groups_without_a_gallery_are_an_error():
    with pytest.raises(ValueError, match="gallery"):
        draw_group(make_row(), GroupRule(easy_share=(0.5, 0.0)), np.random.default_rng(0))


@settings(deadline=None, max_examples=30)
@given(st.floats(-90, 90), st.floats(-180, 180), st.floats(1, 21000))
def test_within_agrees_with_geopy(latitude, longitude, km):
    gallery = make_gallery(200)
    away = np.array([geopy.distance.great_circle((latitude, longitude), tuple(p)).km for p in gallery.points])
    clear = np.abs(away - km) > 1e-3  # a photo on the very rim may fall either way
    inside = np.isin(np.arange(len(gallery)), gallery.within(latitude, longitude, km))
    assert np.array_equal(inside[clear], (away <= km)[clear])


def test_gallery_from_metadata():
    metadata = pd.DataFrame(
        {
            "IMG_ID": ["a.jpg", "b.jpg"],
            "LAT": [1.5, -2.0],
            "LON": [3.0, 4.0],
            "city": ["A", ""],
            "country": ["X", "Y"],
        }
    )
    gallery = EasyPool.from_metadata(metadata, ("city", "country"))
    candidate = gallery.candidate(1)
    assert (candidate.latitude, candidate.longitude) == (-2.0, 4.0)
    assert candidate.texts == ("Y",)  # as in the tables, an empty name is dropped
    assert candidate.image == "b.jpg"


def test_evaluation_group_holds_the_whole_pool_and_the_first_guesses():
    query = evaluation_group(make_row(2, generated=5), GroupRule(group_size=4, hard_pool=12, generated=3))
    assert [c.image for c in query.candidates] == [f"ref_2_{k}.jpg" for k in range(1, 13)] + [None] * 3
    assert [(c.latitude, c.longitude) for c in query.candidates[12:]] == make_row(2, generated=5).zs_gps[:3]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"group_size": 1}, "group_size"),
        ({"group_size": 6, "hard_pool": 5}, "hard_pool"),
        ({"group_size": 3, "generated": 3}, "generated"),
        ({"generated": -1}, "generated"),
        ({"easy_share": (0.2, 1.1)}, "easy_share"),
        ({"easy_share": (float("nan"), 0.0)}, "easy_share"),
        ({"regional_km": 0.0}, "regional_km"),
    ],
)
def test_impossible_rules_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        GroupRule(**settings)
