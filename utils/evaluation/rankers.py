"""The rankers of the report: what each of them picks, on the same queries and candidates.

    model                  highest reward (the published decoding)
    model_consensus        candidate the reward probabilities agree on, s = 200 km
    model_fused            highest reward + a * similarity, `a` fitted on validation queries
    model_fused_consensus  candidate the fused probabilities agree on
    retrieval              first candidate: a retrieved one, but of a query that has only guesses
    consensus              candidate the places of all candidates agree on; guesses weigh more, low ranks less
    consensus_equal        candidate the places of all candidates agree on, equal weights, s = 200 km
    similarity             retrieved candidate with the highest cosine of the full embeddings
    geoclip                candidate with GeoCLIP's highest cosine of photo and place
    random                 any candidate
    oracle                 nearest candidate: no ranker can do better

Rankers whose input is unknown (no rewards, no similarities, no cosines of GeoCLIP) are absent. Where only some queries
have candidates with similarities, the first candidate stands for the most similar one of the others.
"""

from collections.abc import Sequence

import numpy as np

from utils.decoding import METHODS, WITHOUT_RANKER
from utils.evaluation.cases import Case

BASELINES = ("retrieval", *WITHOUT_RANKER, "similarity", "geoclip")


def ranker_picks(
    cases: Sequence[Case], *, temperature: float = 1.0, similarity_weight: float = 0.0, seed: int = 0
) -> dict[str, np.ndarray]:
    """Ranker -> index of the candidate it picks for each case (cases,).

    ``temperature`` and ``similarity_weight`` are those of the adapter; ``seed`` draws the random ranker.
    """
    similar = any(case.evidence.has_similarity for case in cases)
    picks: dict[str, list[int]] = {}
    if all(case.rewards is not None for case in cases):
        for method in METHODS.values():
            if similar or not method.fused:
                decoder = method.decoder(temperature=temperature, similarity_weight=similarity_weight)
                picks[method.ranker] = [decoder.pick(case.evidence) for case in cases]
    picks["retrieval"] = [0] * len(cases)
    for name, decoder in WITHOUT_RANKER.items():
        picks[name] = [decoder.pick(case.evidence) for case in cases]
    cosines = {"similarity": [case.similarities for case in cases], "geoclip": [case.geoclip for case in cases]}
    for name, known in cosines.items():
        if not all(np.isnan(values).all() for values in known):
            picks[name] = [_most_similar(values) for values in known]
    generator = np.random.default_rng(seed)
    picks["random"] = [int(generator.integers(len(case.points))) for case in cases]
    picks["oracle"] = [int(np.argmin(case.distances)) for case in cases]
    return {name: np.array(indices) for name, indices in picks.items()}


def _most_similar(similarities: np.ndarray) -> int:
    return 0 if np.isnan(similarities).all() else int(np.nanargmax(similarities))
