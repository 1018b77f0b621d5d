"""Made-up results of the studies, as the plots read them."""

from dataclasses import replace

import numpy as np

from earth.studies import charts
from earth.studies.ablation_results import Result

RESULT = Result("baseline", "baseline", 0, "abc", "old", 250, {}, "2026-11-24", {}, 1.0, 0.1, {}, {}, [])
TILES = (500, 1000, 4000)


def confidence_result():
    curve = np.linspace(100, 40, 100).round(2).tolist()
    decoder = {
        "calibration_error": 0.03,
        "reliability": {"confidence": [0.2, 0.95], "correct": [0.25, 1.0], "count": [4, 16]},
        "coverage": {km: {"curve": curve} for km in ("25", "200", "750")},
    }
    names = ("argmax", "fused_consensus", "similarity")
    return {
        "test": {"num_queries": 20, "calibration_radius_km": 200, "decoders": {name: decoder for name in names}},
    }


def scaling_result():
    sizes = []
    for step, tiles in enumerate(TILES):
        rankers = {}
        for number, name in enumerate(charts.RANKERS):
            at = {"25": 70.0 - 10 * number + step, "200": 80.0 - 5 * number + step}
            rankers[name] = {"accuracy": at, "accuracy_ci95": {km: [value - 3, value + 3] for km, value in at.items()}}
        sizes.append({"gallery": tiles, "rankers": rankers})
    return {"sizes": sizes}


def ablation_results():
    """Of two settings and the baseline, two seeds each; the paper has figures for the first."""
    rng = np.random.default_rng(0)
    errors = {"baseline": 100, "no_images": 300, "K_3": 100}
    made = "abc", "old", 250, {}, "2026-11-24", {}, 1.0, 0.1, {}, {}
    return [
        Result(name, name, seed, *made, rng.exponential(km, 90).tolist())
        for name, km in errors.items()
        for seed in (0, 1)
    ]


def drawn(setting: str, seed: int, shift: float) -> Result:
    """A result whose errors resemble those of the same seed's others."""
    common = np.random.default_rng(seed).exponential(150, 300)
    own = np.random.default_rng((seed, len(setting))).exponential(30, 300)
    return replace(RESULT, setting=setting, seed=seed, errors_km=(common * shift + own).astype(int).tolist())
