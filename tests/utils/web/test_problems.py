"""Nothing of this machine is told."""

import pytest

from utils.web.problems import Problem, one_line, told


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/srv/photos/a.jpg: missing\n  and '/home/me/x y.jpg'", "a.jpg: missing and 'x y.jpg'"),
        ("dataset/earth/gallery", "dataset/earth/gallery"),
        ("see https://example.org/a/b", "see https://example.org/a/b"),
        ("3 / 4 and 1/25/200 km", "3 / 4 and 1/25/200 km"),
        ("(/tmp/a/b)", "(b)"),
        ("12 similar photos of /srv/gallery, which has 20", "12 similar photos of gallery, which has 20"),
    ],
)
def test_only_the_last_part_of_a_path_is_shown(text, shown):
    assert one_line(text) == shown
    assert Problem(422, text).text == shown
    assert told({"a": [text.split("\n")[0], 1.5, None]})["a"][1:] == [1.5, None]


def test_pictures_stay_as_they_are():
    picture = "data:image/jpeg;base64,/9j/4AAQ/SkZJRg/ABAQ=="
    assert told([picture]) == [picture]
