import pytest

from tests.tiny_models import build_tiny_tokenizer
from utils.candidates import Candidate, Query
from utils.model.prompts import LAYOUTS, PARTS, ChatFrame, Words, leave_out, negative_examples, place, question

MARTIGNY = Candidate(46.167286, 7.099698, ("Martigny", "Valais", "Switzerland"), image="a.jpg")
GENERATED = Candidate(-33.87, 151.0)
NEGATIVES = (MARTIGNY, GENERATED)
HEAD = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"
TAIL = "<|im_end|>\n<|im_start|>assistant\n"
QUESTION = "How far is this place from latitude: 46.167286, longitude: 7.099698, Martigny Valais Switzerland?"
NEGATIVE_EXAMPLES = (
    "Negative examples: latitude: 46.167286, longitude: 7.099698, Martigny Valais Switzerland; "
    "latitude: -33.87, longitude: 151.0"
)


@pytest.fixture(scope="module")
def frame() -> ChatFrame:
    return ChatFrame.of(build_tiny_tokenizer())


def test_parts_are_the_published_text():
    assert question(MARTIGNY) == QUESTION
    assert question(GENERATED) == "How far is this place from latitude: -33.87, longitude: 151.0?"
    assert negative_examples(NEGATIVES) == NEGATIVE_EXAMPLES
    assert negative_examples(()) == ""
    assert place(Candidate(1e-05, -0.0)) == "latitude: 1e-05, longitude: -0.0"
    # Empty names stay: who does not want them leaves them out of the candidate.
    assert place(Candidate(1.0, 2.0, ("a", "", "b"))) == "latitude: 1.0, longitude: 2.0, a  b"
    assert place(Candidate(1.0, 2.0, ("",))) == "latitude: 1.0, longitude: 2.0, "


def test_frame_is_read_off_the_chat_template(frame):
    assert frame == ChatFrame(HEAD, IMAGE, TAIL)


def test_published_prompt(frame):
    assert frame.prefix(NEGATIVES, "published") == [HEAD + IMAGE]
    assert frame.suffix(MARTIGNY, NEGATIVES, "published") == [QUESTION, IMAGE, NEGATIVE_EXAMPLES, TAIL]
    assert frame.suffix(GENERATED, NEGATIVES, "published") == [question(GENERATED) + NEGATIVE_EXAMPLES, TAIL]
    assert "".join(frame.suffix(GENERATED, (), "published")) == question(GENERATED) + TAIL


def test_negatives_first_prompt(frame):
    assert frame.prefix(NEGATIVES, "negatives_first") == [HEAD + IMAGE, NEGATIVE_EXAMPLES + "\n"]
    assert "".join(frame.suffix(MARTIGNY, NEGATIVES, "negatives_first")) == QUESTION + IMAGE + TAIL


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_said_of_places_is_words_and_no_tag_is(frame, layout):
    parts = frame.prefix(NEGATIVES, layout) + frame.suffix(MARTIGNY, NEGATIVES, layout)
    assert [isinstance(part, Words) for part in parts] == [part not in (HEAD + IMAGE, IMAGE, TAIL) for part in parts]


def test_layouts_agree_without_negatives(frame):
    for part in (frame.prefix, lambda *rest: frame.suffix(MARTIGNY, *rest)):
        assert part((), "published") == part((), "negatives_first")


def test_parts_that_are_left_out():
    query = Query("q.jpg", (MARTIGNY, GENERATED), NEGATIVES, 46.2, 7.1)
    assert leave_out((), query) == query
    assert leave_out(["negatives"], query) == Query("q.jpg", (MARTIGNY, GENERATED), (), 46.2, 7.1)
    unpictured = Candidate(MARTIGNY.latitude, MARTIGNY.longitude, MARTIGNY.texts)
    assert leave_out(["images"], query).candidates == (unpictured, GENERATED)
    assert [place(negative) for negative in leave_out(["images"], query).negatives] == list(map(place, NEGATIVES))
    unnamed = Candidate(MARTIGNY.latitude, MARTIGNY.longitude, image="a.jpg")
    assert leave_out(["texts"], query) == Query("q.jpg", (unnamed, GENERATED), (unnamed, GENERATED), 46.2, 7.1)
    bare = (Candidate(MARTIGNY.latitude, MARTIGNY.longitude), GENERATED)
    assert leave_out(PARTS, query) == Query("q.jpg", bare, (), 46.2, 7.1)
