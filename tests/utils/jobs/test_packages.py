import pytest

from utils.jobs.packages import check_package


def test_a_missing_package_is_named_with_its_extra():
    check_package("flag", "pytest", "dev")
    with pytest.raises(ValueError, match=r"^flag needs the package no-such: pip install -e '\.\[dev\]'$"):
        check_package("flag", "no-such", "dev")
