import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.servers.mask import LEAST, Mask

KEY = "sk-AbC/d+e12345"
signs = st.text("ab/-c", max_size=30)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"Bearer {KEY}, {KEY}", "Bearer [key], [key]"),
        ("Bearer sk-AbC/d+", "Bearer [key]"),  # what a limit of tokens left of it
        ("sk-AbC/d+... is wrong", "[key]... is wrong"),
        ("sk-Ab is too short to be told from other words", "sk-Ab is too short to be told from other words"),
        (r"{'key': 'sk-AbC\/d+e12345'}", "{'key': '[key]'}"),
        ("?key=sk-AbC%2Fd%2Be12345&n=1", "?key=[key]&n=1"),
        ("", ""),
    ],
)
def test_keys_and_their_beginnings(text: str, masked: str) -> None:
    assert Mask.of(KEY, "http://host/v1")(text) == masked


def test_keys_of_servers_without_keys_stand_in_other_words() -> None:
    assert Mask.of("none", None)("none of them") == "none of them"


def test_user_and_password_of_the_address() -> None:
    mask = Mask.of(KEY, "https://user:pa%3Assword@host/v1")
    basic = base64.b64encode(b"user:pa:ssword").decode()
    for text in ("https://user:pa%3Assword@host", "user:pa:ssword", "<pa:ssword>", f"Basic {basic}", KEY):
        masked = mask(text)
        assert "[key]" in masked
        assert not any(part in masked for part in ("ssword", basic[:6], "AbC"))
    assert Mask.of(KEY, "https://user:pw@host/v1")("<user:pw>") == "<[key]>"
    assert mask("user at host") == "user at host"


@settings(deadline=None)
@given(signs.filter(lambda key: len(key) >= LEAST), signs, signs, st.integers(0, 99))
def test_no_text_around_a_key_shows_it_however_it_is_cut(key: str, before: str, after: str, limit: int) -> None:
    mask = Mask.of(key, None)
    shown = mask(before + key + after)
    for text in (shown, shown[:limit], mask((before + key + after)[:limit])):
        assert key[:LEAST] not in text
