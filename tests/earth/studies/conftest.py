import pytest

from utils.evaluation import metrics


@pytest.fixture(scope="module")
def few_resamples():
    """Intervals of 50 resamples, not 2,000: for tests that ask where an interval comes from, not where it ends."""
    with pytest.MonkeyPatch.context() as patch:
        for function in (metrics.bootstrap_ci, metrics.paired_difference_ci, metrics.paired_summary, metrics.summary):
            patch.setitem(function.__kwdefaults__, "resamples", 50)
        yield
