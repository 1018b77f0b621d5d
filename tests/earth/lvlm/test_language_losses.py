from types import SimpleNamespace

import numpy as np
import torch

from earth.lvlm.contrast import PLACE_KM
from earth.lvlm.language_data import PhotoGroup, Tokens, shown
from earth.lvlm.language_losses import TOP, UNSEEN_KM, LanguageHeads, States, candidate_states, group_losses
from tests.earth.pretraining import BASE
from utils.candidates import Candidate, Query
from utils.geo_ranker import GeoRanker
from utils.geography.geodesy import haversine_km
from utils.model import batch as packed_batch
from utils.model import last_hidden


def test_losses_of_groups_against_loops():
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    heads = LanguageHeads(12)
    states = States(*(torch.randn(rows, 12) for rows in (12, 12, 2 * 4 * 16, 2 * 4 * 16)))
    groups = SimpleNamespace(pictures=4, spread=(np.array([0.8, 0.7]), np.array([0.1, 0.2])), match_spread=(0.5, 0.3))
    drawn = [
        PhotoGroup(
            query=Query("photo 0", (), (), *rng.uniform(-60, 60, 2).tolist()),
            places=rng.uniform(-60, 60, (6, 2)),
            km=rng.uniform(1, 5000, 6),
            similarity=rng.uniform(0.5, 1, (4, 2)),
            match=rng.uniform(0, 1, (4, 16, 16)),
            token_km=rng.uniform(1, 500, (4, 16)),
        )
        for _ in range(2)
    ]
    extra = rng.uniform(-60, 60, (5, 2))
    with torch.no_grad():
        found = group_losses(heads, states, drawn, groups, extra).tolist()

    def smooth(value: float, wanted: float) -> float:
        far = abs(value - wanted)
        return far - 0.5 if far > 1 else far**2 / 2

    ranks, squares, smooths, matches, offsets, places = [], [], [], [], [], ([], [])
    asked = np.concatenate([group.places for group in drawn])
    truths = np.array([(group.query.latitude, group.query.longitude) for group in drawn]).repeat(6, axis=0)
    for number, group in enumerate(drawn):
        own = states.answer[number * 6 : number * 6 + 6]
        tokens_halfway, tokens = (
            side[number * 64 : number * 64 + 64].view(4, 16, 12) for side in (states.tokens_halfway, states.tokens)
        )
        rewards = heads.rank(own)[:, 0].tolist()
        left = sorted(range(6), key=lambda candidate, group=group: group.km[candidate])
        for _ in range(TOP):
            total = sum(np.exp(rewards[candidate]) for candidate in left)
            ranks.append(-np.log(np.exp(rewards[left.pop(0)]) / total))
        smooths.append(
            [smooth(heads.log_km(state).item(), np.log(1 + km)) for state, km in zip(own, group.km, strict=True)]
        )
        for picture in range(4):
            wanted = (group.similarity[picture] - groups.spread[0]) / groups.spread[1]
            squares.append((heads.similarity(own[picture]).detach().numpy() - wanted) ** 2)
            for token in range(16):
                match = heads.match(tokens_halfway[picture, token]).detach().numpy()
                matches.append((match - (group.match[picture, token] - 0.5) / 0.3) ** 2)
                offset = heads.offset(tokens[picture, token]).item()
                offsets.append(smooth(offset, np.log(1 + min(group.token_km[picture, token], UNSEEN_KM))))
    with torch.no_grad():
        located = heads.places(states.halfway).split(12, dim=1)
        for side, (vectors, points) in enumerate(zip(located, (asked, truths), strict=True)):
            others = np.concatenate([points, extra])
            codes = heads.location(others).numpy()
            for vector, point in zip(vectors.numpy(), points, strict=True):
                logits = np.exp(heads.log_scale.item()) * codes @ vector / np.linalg.norm(vector)
                likely = np.exp(-haversine_km(*point, *others.T) / PLACE_KM)
                logs = logits - np.log(np.exp(logits).sum())
                places[side].append(-(likely / likely.sum() * logs).sum())
    smooths = np.array(smooths)
    expected = [
        np.mean(ranks),
        smooths.mean(),
        smooths[:, 4:].mean(),
        *np.mean(squares, axis=0),
        np.mean(matches),
        np.mean(offsets),
        np.mean(places),
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_states_stand_in_the_order_of_the_candidates(monkeypatch):
    """Whole prompts through the stock language model, one candidate at a time; some come without a picture."""
    monkeypatch.setattr(packed_batch, "CALL_TOKENS", 1)  # candidates with and without a picture are read in two calls
    ranker = GeoRanker.from_pretrained(BASE, dtype=torch.float32, layout="negatives_first")
    tiles = np.random.default_rng(0).normal(size=(4, 16, 192)).astype(np.float16)
    tokens = Tokens(tiles[:1], tiles[1:])
    candidates = tuple(
        Candidate(1.5 * number, -2.25, ("Town",) * number, image)
        for number, image in enumerate(["tile 0", None, "tile 1", None, "tile 2"])
    )
    query = Query("photo 0", candidates, candidates[:2])
    batch = ranker.packer.pack(*shown([query], tokens))
    assert len(batch.suffixes_by_length()) == 2
    language_model = ranker.backbone.language_model
    expected = []
    with torch.no_grad():
        states = candidate_states(ranker, batch)
        for candidate in candidates:
            alone = ranker.packer.pack(*shown([Query("photo 0", (candidate,), candidates[:2])], tokens))
            rows = alone.rows()
            stock = language_model(
                **last_hidden._embed(ranker.backbone, rows.ids, rows.image_rows, alone.features),
                position_ids=rows.positions,
                use_cache=False,
                output_hidden_states=True,
            )
            in_suffix = (rows.segment == rows.segment.max()) & (rows.image_rows >= 0)
            halfway, late = (stock.hidden_states[layer] for layer in (2, 3))  # after so many of the four layers
            last = stock.last_hidden_state[rows.last]
            expected.append((last, halfway[rows.last], halfway[in_suffix], late[in_suffix]))
    found = (states.answer, states.halfway, states.tokens_halfway, states.tokens)
    for one, several in zip(found, zip(*expected, strict=True), strict=True):
        torch.testing.assert_close(one, torch.cat(several), atol=1e-4, rtol=0)
