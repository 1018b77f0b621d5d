"""How planted leaks are altered, and how what was found of them is counted."""

import numpy as np
import pandas as pd

from benchmarks.work.audit import ALTERATIONS, Planted, Score, scores
from tests.audited import picture


def test_leaks_and_clean_queries_that_were_found_are_counted():
    queries = [Planted("c0", "clean"), Planted("c1", "clean"), Planted("i0", "same_id"), Planted("o0", "same_owner")]
    queries += [Planted(f"n{number}", "cropped", f"g{number}") for number in range(4)]
    columns = ["IMG_ID", "reason", "gallery_id", "likeness"]
    rows = [
        ("i0", "same_id", "g9", None),
        ("i0", "same_owner", "g9", None),
        ("o0", "same_owner", "g9", None),
        ("n0", "near_duplicate", "g0", 0.99),
        ("n1", "near_duplicate", "g7", 0.98),  # a tile that overlaps
        ("n2", "near_duplicate", "g2", 0.91),
        ("c0", "near_duplicate", "g3", 0.96),
    ]
    table = pd.DataFrame(rows, columns=columns)
    assert list(scores(queries, table, 0.95)) == [
        Score("same_id", 1, 1, 1),
        Score("same_owner", 2, 2, 2),
        Score("cropped", 4, 2, 3),
        Score("cropped, its own tile", 4, 1, 3),
    ]
    assert next(score for score in scores(queries, table, 0.9) if score.kind == "cropped") == Score("cropped", 4, 3, 4)


def test_alterations_stay_within_what_the_documents_say():
    photo = picture(0, (100, 80))
    for seed in range(20):
        made = {name: alter(photo, np.random.default_rng(seed)) for name, alter in ALTERATIONS.items()}
        assert made["re-encoded"].size == made["brightness"].size == photo.size
        assert all(0.49 <= now / side <= 2.01 for now, side in zip(made["resized"].size, photo.size, strict=True))
        assert all(0.9 <= now / side <= 1 for now, side in zip(made["cropped"].size, photo.size, strict=True))
        brightness = np.asarray(made["brightness"], dtype=float).mean() / np.asarray(photo, dtype=float).mean()
        assert 0.89 < brightness < 1.11
