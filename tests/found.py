"""Two queries and what retrieval found for them in a gallery of five photos."""

import numpy as np
import pandas as pd

from utils.geography.gazetteer import TEXT_COLUMNS
from utils.tables.retrieval_table import RetrievalRow


def metadata(ids: list[str], points: list[tuple[float, float]]) -> pd.DataFrame:
    """City names follow the id; "g1" has no state."""
    table = pd.DataFrame({"IMG_ID": ids, "LAT": [lat for lat, _ in points], "LON": [lon for _, lon in points]})
    names = [["", f"city {name}", "", "" if name == "g1" else "state", "", "country"] for name in ids]
    return table.join(pd.DataFrame(names, columns=list(TEXT_COLUMNS)))


GALLERY = metadata([f"g{i}" for i in range(5)], [(float(i), 10.0 * i) for i in range(5)])
INDICES = np.array([[4, 1, 2], [0, 3, 1]])
SIMILARITY = np.array([[0.9, 0.8, 0.7], [0.6, 0.5, 0.4]], dtype=np.float32)


def queries() -> list[RetrievalRow]:
    """Of the first query, candidate 1 was unusable."""
    return [
        RetrievalRow(0, "q0", 50.0, 60.0, {0: (4.0, 40.0), 2: (2.0, 20.0)}, {0: (1.0, 10.0)}),
        RetrievalRow(1, "q1", -50.0, -60.0, {0: (0.0, 0.0), 1: (3.0, 30.0), 2: (1.0, 10.0)}),
    ]
