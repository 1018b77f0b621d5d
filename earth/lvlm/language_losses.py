"""The losses that teach the language model to compare pictures and places: those of earth/lvlm/language.py.

    rank      the ranker's prompt on groups of candidates: Plackett-Luce over the TOP nearest, on a linear head
    km        on the same states, log kilometres
    far       the same for candidates without a picture alone, of which there is nothing to read but coordinates
    cosine    on the same states, the cosine that the tower gives the two pictures: what the language model could know
              about them without knowing the Earth, a target without noise, and learnt first
    overlap   the same with their late interaction, which takes comparing token with token
    match     at each image token of a candidate, half-way through the layers: its cosine with each token of the photo
    offset    at the same token, but before the last layer: log kilometres from its ground to the photo's centre, of
              which all beyond UNSEEN_KM are the same: the photo does not show that ground
    places    where the answer starts, half-way through the layers: the candidate's coordinates and the photo's, each
              against encoded coordinates as in the first stage; a distance takes both in one place
    guess     next token: the generation prompt, answered with the photo's coordinates as JSON
    state     the state before that answer against encoded coordinates, as in the first stage

Pictures and tokens are compared as the frozen tower sees them: targets without noise.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from earth.lvlm.contrast import PLACE_WEIGHT, LocationEncoder, place_loss
from earth.lvlm.language_data import PhotoGroup, PhotoGroups
from earth.recipe import TOKENS
from utils.geo_ranker import GeoRanker
from utils.model.batch import PackedBatch
from utils.training.losses import first_order_loss

TOP = 3
UNSEEN_KM = 400  # further than the corners of a photo are from its centre
# What makes a ranker precise is how well it compares; and a guess is a mean over tokens of which most are certain.
WEIGHTS = {
    "rank": 2,
    "km": 1,
    "far": 3,
    "cosine": 2,
    "overlap": 2,
    "match": 5,
    "offset": 3,
    "places": 4 * PLACE_WEIGHT,
    "guess": 5,
    "state": PLACE_WEIGHT,
}


class LanguageHeads(nn.Module):
    """What this stage needs beside the LVLM, and what is thrown away after it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.rank = nn.Linear(width, 1, bias=False)
        self.log_km = nn.Linear(width, 1)
        self.similarity = nn.Linear(width, 2)  # cosine and late interaction
        self.match = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, TOKENS))
        self.offset = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 1))
        self.places = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width))  # the candidate's, the photo's
        self.answer_to_location = nn.Linear(width, width)
        self.location = LocationEncoder(width)
        self.log_scale = nn.Parameter(torch.tensor(2.66))  # of the contrast with places: 1 / 0.07


@dataclass(frozen=True)
class States:
    """Of the candidates' prompts, float32, in the order of the candidates; halfway: after half of the layers.

    answer, halfway (candidates, hidden): at the last token; tokens_halfway, tokens (pictures * tokens, hidden): at the
    candidates' image tokens, the latter before the last layer.
    """

    answer: torch.Tensor
    halfway: torch.Tensor
    tokens_halfway: torch.Tensor
    tokens: torch.Tensor


def group_losses(
    heads: LanguageHeads, states: States, drawn: list[PhotoGroup], groups: PhotoGroups, extra: np.ndarray
) -> torch.Tensor:
    """rank, km, far, cosine, overlap, match, offset and places loss (8,) of groups' prompts.

    :param extra: (n, 2) degrees, more wrong places.
    """
    km = torch.from_numpy(np.stack([group.km for group in drawn])).float()  # (groups, candidates)
    rewards, log_km, similarity = (
        head(states.answer).unflatten(0, km.shape) for head in (heads.rank, heads.log_km, heads.similarity)
    )
    rewards, log_km = rewards.squeeze(2), log_km.squeeze(2)
    rank = torch.stack([first_order_loss(*group, K=TOP) for group in zip(rewards, km, strict=True)]).mean()
    pictures = groups.pictures
    far = F.smooth_l1_loss(log_km[:, pictures:], km[:, pictures:].log1p())
    wanted = standardised([group.similarity for group in drawn], *groups.spread)  # (groups, pictures, 2)
    cosine, overlap = (similarity[:, :pictures] - wanted).square().mean((0, 1))

    match = standardised([group.match for group in drawn], *groups.match_spread)
    match = F.mse_loss(heads.match(states.tokens_halfway), match.flatten(0, 2))
    token_km = torch.from_numpy(np.stack([group.token_km for group in drawn])).float()
    offset = F.smooth_l1_loss(heads.offset(states.tokens), token_km.clamp(max=UNSEEN_KM).log1p().view(-1, 1))

    asked = np.concatenate([group.places for group in drawn])
    shown = np.array([(group.query.latitude, group.query.longitude) for group in drawn]).repeat(km.shape[1], axis=0)
    places = [
        place_loss(heads.location, heads.log_scale, located, points, extra)
        for located, points in zip(heads.places(states.halfway).chunk(2, dim=1), (asked, shown), strict=True)
    ]
    places = torch.stack(places).mean()
    return torch.stack([rank, F.smooth_l1_loss(log_km, km.log1p()), far, cosine, overlap, match, offset, places])


def standardised(values: list[np.ndarray], mean: np.ndarray | float, deviation: np.ndarray | float) -> torch.Tensor:
    """Stacked, and as numbers of size 1, which a head learns soonest."""
    return torch.from_numpy((np.stack(values) - mean) / deviation).float()


def candidate_states(ranker: GeoRanker, batch: PackedBatch) -> States:
    """``ranker.last_hidden``, and what two earlier layers make of the candidates' suffixes."""
    layers = ranker.backbone.language_model.layers
    outputs = [[], []]
    hooks = [
        layer.register_forward_hook(lambda module, inputs, output, kept=kept: kept.append(output))
        for layer, kept in zip((layers[len(layers) // 2 - 1], layers[-2]), outputs, strict=True)
    ]
    answer = ranker.last_hidden(batch)
    for hook in hooks:
        hook.remove()
    halfway, late = (answer.new_zeros(*batch.suffix_ids.shape, answer.shape[-1]) for _ in outputs)
    for whole, parts in zip((halfway, late), outputs, strict=True):
        for chosen, output in zip(batch.suffixes_by_length(), parts[1:], strict=True):  # the prefixes went first
            whole[chosen, : output.shape[1]] = output.to(whole.dtype)
    is_image = batch.suffix_image_rows >= 0  # (candidates, length)
    return States(
        answer.float(), halfway[batch.suffix_last()].float(), halfway[is_image].float(), late[is_image].float()
    )
