import pytest

from utils.servers.server import server_root


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v1/"])
def test_an_address_with_or_without_its_ending(ending: str) -> None:
    assert server_root(f"https://host:8000{ending}", "/classify", "/v1") == "https://host:8000"


@pytest.mark.parametrize(
    "url",
    ["", "localhost:8000/v1", "ftp://host/v1", "https:///v1", "http://host:x/v1", "http://host\n/v1"],
)
def test_no_address(url: str) -> None:
    with pytest.raises(ValueError, match="is no address such as"):
        server_root(url)
