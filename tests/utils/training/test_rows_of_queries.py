import numpy as np
import pytest
from geopy.distance import great_circle

from tests.found import GALLERY, INDICES, metadata, queries
from utils.tables.join import FoundPhotos
from utils.training.rows_of_queries import RankDistances, georanking_rows


def test_georanking_starts_with_the_query_itself() -> None:
    own = metadata(["q1", "q0"], [(-50.0, -60.0), (50.0, 60.0)])
    first, second = georanking_rows(queries(), FoundPhotos.of(INDICES, GALLERY), own, {"q1": [(7.0, 8.0)]})
    assert first.gps == (50.0, 60.0)
    assert first.ref_gps == [(50.0, 60.0), (4.0, 40.0), (2.0, 20.0)]
    assert first.ref_img_id == ["q0", "g4", "g2"]
    assert first.ref_texts == [[f"city {name}", "state", "country"] for name in ("q0", "g4", "g2")]
    assert first.zs_gps == []
    assert second.ref_texts[-1] == ["city g1", "country"]
    assert second.zs_gps == [(7.0, 8.0)]

    distances = RankDistances()
    assert list(distances.watch([first, second])) == [first, second]
    medians = distances.medians()
    assert medians[0] == 0
    assert len(medians) == 4
    pairs = [((50, 60), (4, 40)), ((-50, -60), (0, 0))]
    assert medians[1] == pytest.approx(np.mean([great_circle(*pair).km for pair in pairs]), rel=1e-4)


def test_a_query_without_metadata_is_an_error() -> None:
    with pytest.raises(ValueError, match="q1 stands in the retrieval table but not"):
        list(georanking_rows(queries(), FoundPhotos.of(INDICES, GALLERY), metadata(["q0"], [(50.0, 60.0)])))
