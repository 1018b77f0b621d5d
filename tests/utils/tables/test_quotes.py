"""A quote that is not closed is named; cells of several lines are read."""

import csv
import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.tables.candidate_table import read_candidate_table
from utils.tables.generation_table import read_generation_table
from utils.tables.metadata import read_metadata, read_whole_metadata
from utils.tables.places import read_places
from utils.tables.retrieval_table import read_retrieval_table

READERS = {
    "response": [read_generation_table],
    "candidate_gps_lis": [lambda path: read_candidate_table(path, 5, 5), read_retrieval_table],
    "candidate_0_gps": [read_retrieval_table],
    "city": [read_metadata, read_whole_metadata, read_places],
}


@pytest.mark.parametrize("delimiter", [",", ";"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("rest", ["", 'd{0}5{0}6{0}"x"\n', 'd{0}5{0}6{0}"x\n', 'd{0}5{0}6{0}x"\n'])
@pytest.mark.parametrize("column", READERS)
def test_a_quote_that_is_not_closed_is_named_in_every_table(write, column, rest, line_end, delimiter):
    text = f'IMG_ID,LAT,LON,{column}\n\na,1,2,"x"\nb,3,4,"x\nc,5,6,x\n'.replace(",", delimiter) + rest.format(delimiter)
    path = write("")
    path.write_bytes(text.replace("\n", line_end).encode())
    for read in READERS[column]:
        with pytest.raises(ValueError, match=rf"^{re.escape(str(path))}: row 1 \(line 4\): a quote is opened"):
            read(path)


def test_a_header_whose_quote_is_not_closed(write):
    with pytest.raises(ValueError, match=r"the header \(line 1\): a quote"):
        read_places(write('latitude,longitude,"note\n1,2,a\n3,4,b\n'))


@pytest.mark.parametrize(
    "place", ["two\nlines", "two,\n3,commas\n", 'a ""quoted""\nword', "1,2\n3,4", "\n\n", "lines,\nof,three,\ncells"]
)
def test_cells_of_several_lines_are_read(write, place):
    candidates, problems = read_places(write(f'latitude,longitude,place\n1,2,"{place}"\n3,4,b\n'))
    assert [(place.latitude, place.longitude) for place in candidates] == [(1, 2), (3, 4)]
    assert candidates[0].texts == ((place.replace('""', '"').strip(),) if place.strip() else ())
    assert problems == []


@pytest.mark.parametrize("name", ["\na", "a\nb", "a\n\n", "a\nb,c\nd", "1,2\na"])
def test_names_of_several_lines_are_read(write, name):
    text = f'IMG_ID,LAT,LON,response\n"{name}",1,2,x\nb,3,4,x\n'
    rows, _ = read_generation_table(write(text))
    assert [row.img_id for row in rows] == [name, "b"]


def test_a_row_that_begins_with_a_lost_quote_is_named(write):
    path = write('IMG_ID,LAT,LON,response\n"a,1,2,x\nb",3,4,x\n')
    with pytest.raises(ValueError, match=r"row 0 \(line 2\): a quote is opened"):
        read_generation_table(path)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text('ab",\n', max_size=6), min_size=2, max_size=4), st.data())
def test_a_lost_quote_costs_no_row_in_silence(tmp_path_factory, places, data):
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([["latitude", "longitude", "place"]])
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows([[1, 2, place] for place in places])
    whole = text.getvalue()
    path = tmp_path_factory.mktemp("tables") / "places.csv"
    path.write_text(whole, newline="")
    assert [place.texts for place in read_places(path)[0]] == [(p.strip(),) if p.strip() else () for p in places]
    lost = data.draw(st.sampled_from([place for place, sign in enumerate(whole) if sign == '"']))
    path.write_text(whole[:lost] + whole[lost + 1 :], newline="")
    try:
        candidates, problems = read_places(path)
    except ValueError as error:
        candidates, problems = [], [str(error)]
    assert len(candidates) == len(places) or str(path) in problems[0]
