"""Teach the tiny LVLM's language model to use what its tower sees: the third stage of pretraining.

    python -m earth.pretrain_language                      # after earth.pretrain_tower, whose weights it goes on from
    python -m earth.pretrain_language --resume             # go on after an interruption
    torchrun --nproc_per_node 2 -m earth.pretrain_language   # as many groups and lessons in each process

The first two stages leave a tower that knows the Earth well and a language model that listens to it little. Here the
tower is frozen and every picture's tokens are computed once, so all the time goes into the language model. The losses:

    rank      the ranker's prompt on groups of candidates: Plackett-Luce over the TOP nearest, on a linear head
    km        on the same states, log kilometres
    cosine    on the same states, the cosine that the tower gives the two pictures: what the language model could know
              about them without knowing the Earth, a target without noise, and learnt first
    overlap   the same with their late interaction, which takes comparing token with token
    order     softmax of the overlaps it says for a group, over SHARPNESS, against that of the tower's: near the top
              small differences decide
    match     at each image token of a candidate, before the last layer: its highest cosine with a token of the photo
    offset    in the same place: log kilometres from the token's ground to the photo's centre
    guess     next token: the generation prompt, answered with the photo's coordinates as JSON
    state     the state before that answer against encoded coordinates, as in the first stage

The ranker's own training (finetune_geo_ranker.py) sees other places than these.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from transformers import AutoTokenizer, Qwen2VLForConditionalGeneration

from earth import lvlm
from earth.build_dataset import DEFAULT_DIR
from earth.contrast import PLACE_WEIGHT, LocationEncoder, place_loss
from earth.language_data import TOPK, Group, Groups, Tokens, embeddings, image_tokens
from earth.pretrain_data import POOL, PretrainData
from earth.pretrain_lvlm import guess_lessons, lesson_loss
from earth.schedule import LossLog, learning_rate, load_checkpoint, save_checkpoint
from utils.adapter import AdapterInfo
from utils.candidates import NUM_NEGATIVES, Query
from utils.geo_ranker import GeoRanker, rope_index
from utils.geodesy import haversine_km
from utils.images import ImageStore
from utils.losses import first_order_loss
from utils.metrics import accuracy
from utils.packing import PackedBatch, Packer
from utils.processes import Processes
from utils.tables import read_metadata

TOP = 3
# What makes a ranker precise is how well it compares; and a guess is a mean over tokens of which most are certain.
WEIGHTS = {
    "rank": 1,
    "km": 1,
    "cosine": 3,
    "overlap": 3,
    "order": 1,
    "match": 3,
    "offset": 1,
    "guess": 5,
    "state": PLACE_WEIGHT,
}
SHARPNESS = 0.2  # standard deviations of late interaction


class Heads(nn.Module):
    """What this stage needs beside the LVLM, and what is thrown away after it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.rank = nn.Linear(width, 1, bias=False)
        self.log_km = nn.Linear(width, 1)
        self.similarity = nn.Linear(width, 2)  # cosine and late interaction
        self.token = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2))  # match and offset
        self.answer_to_location = nn.Linear(width, width)
        self.location = LocationEncoder(width)
        self.log_scale = nn.Parameter(torch.tensor(2.66))  # of the contrast with places: 1 / 0.07


def group_losses(heads: Heads, states: torch.Tensor, drawn: list[Group], groups: Groups) -> torch.Tensor:
    """rank, km, cosine, overlap and order loss (5,) of the last states (groups * size, hidden) of groups' prompts."""
    km = torch.from_numpy(np.stack([group.km for group in drawn])).float()  # (groups, size)
    rewards, log_km, similarity = (
        head(states).unflatten(0, km.shape) for head in (heads.rank, heads.log_km, heads.similarity)
    )
    rewards, log_km = rewards.squeeze(2), log_km.squeeze(2)
    rank = torch.stack([first_order_loss(*group, K=TOP) for group in zip(rewards, km, strict=True)]).mean()
    wanted = standardised([group.similarity for group in drawn], *groups.spread)  # (groups, pictures, 2)
    said = similarity[:, : wanted.shape[1]]
    order = F.cross_entropy(said[..., 1] / SHARPNESS, torch.softmax(wanted[..., 1] / SHARPNESS, dim=1))
    return torch.stack([rank, F.smooth_l1_loss(log_km, km.log1p()), *(said - wanted).square().mean((0, 1)), order])


def token_losses(heads: Heads, states: torch.Tensor, drawn: list[Group], groups: Groups) -> torch.Tensor:
    """match and offset loss (2,) of the states (groups * pictures * tokens, hidden) at candidates' image tokens."""
    match, offset = heads.token(states).unbind(1)
    wanted = standardised([group.match for group in drawn], *groups.match_spread)
    km = torch.from_numpy(np.stack([group.token_km for group in drawn])).float()
    return torch.stack([F.mse_loss(match, wanted.flatten()), F.smooth_l1_loss(offset, km.log1p().flatten())])


def standardised(values: list[np.ndarray], mean: np.ndarray | float, deviation: np.ndarray | float) -> torch.Tensor:
    """Stacked, and as numbers of size 1, which a head learns soonest."""
    return torch.from_numpy((np.stack(values) - mean) / deviation).float()


class Validation:
    """The first POOL candidates of the validation photos, ranked by the heads."""

    def __init__(self, model: Qwen2VLForConditionalGeneration, groups: Groups, data: Path, run: Path) -> None:
        metadata = read_metadata(data / "val" / "metadata.csv")
        store = ImageStore.from_paths([data / "val" / "images"])
        pictures = np.stack([np.asarray(store.open(name)) for name in metadata["IMG_ID"]])
        self.tokens = image_tokens(model, pictures, run / "val_tokens.npy")
        found, _ = groups.index.search(embeddings(self.tokens), TOPK)
        points = metadata[["LAT", "LON"]].to_numpy(float)
        tiles = groups.tile_points[found[:, :POOL]]
        self.km = haversine_km(points[:, None, 0], points[:, None, 1], tiles[..., 0], tiles[..., 1])  # (photos, POOL)
        self.queries = [
            Query(
                f"photo {photo}",
                tuple(groups.candidate(tile) for tile in row[:POOL]),
                tuple(groups.candidate(tile) for tile in row[-NUM_NEGATIVES:]),
            )
            for photo, row in enumerate(found.tolist())
        ]

    @torch.inference_mode()
    def __call__(self, ranker: GeoRanker, heads: Heads, tiles: np.ndarray, batch_size: int = 25) -> str:
        photos = Tokens(self.tokens, tiles)
        rewards, log_km = [], []
        for start in range(0, len(self.queries), batch_size):
            batch = ranker.packer.pack(*shown(self.queries[start : start + batch_size], photos))
            with torch.autocast("cpu", torch.bfloat16):
                states = ranker.read(batch).float()
            rewards.append(heads.rank(states).view(-1, POOL))
            log_km.append(heads.log_km(states).view(-1, POOL))
        picks = {
            "first": np.zeros(len(self.km), dtype=int),
            "highest reward": torch.cat(rewards).argmax(1).numpy(),
            "fewest km": torch.cat(log_km).argmin(1).numpy(),
            "oracle": self.km.argmin(1),
        }
        within = {name: accuracy(self.km[np.arange(len(self.km)), pick], (25, 200)) for name, pick in picks.items()}
        return "  ".join(f"{name} {near:.1f} / {far:.1f}" for name, (near, far) in within.items())


def shown(queries: list[Query], photos: Tokens) -> tuple[list[Query], dict]:
    """The queries with the photos that their prompts show."""
    ids = dict.fromkeys(
        image_id
        for query in queries
        for image_id in (query.image, *(candidate.image for candidate in query.candidates))
        if image_id is not None
    )
    return queries, {image_id: photos[image_id] for image_id in ids}


def read(ranker: GeoRanker, batch: PackedBatch) -> tuple[torch.Tensor, torch.Tensor]:
    """Last states (candidates, hidden), and those of the candidates' image tokens before the last layer, float32.

    The latter (pictures * tokens, hidden) stand in the order of the candidates.
    """
    outputs = []
    layer = ranker.backbone.language_model.layers[-2]
    hook = layer.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    states = ranker.read(batch)
    hook.remove()
    shown = batch.suffix_image_rows >= 0  # (candidates, length)
    tokens = states.new_empty(*shown.shape, states.shape[-1])
    for chosen, output in zip(batch.suffixes_by_length(), outputs[1:], strict=True):  # the prefixes were read first
        tokens[chosen, : output.shape[1]] = output.to(tokens.dtype)
    return states.float(), tokens[shown].float()


def average_gradients(parameters: list[nn.Parameter]) -> None:
    """Give all processes the mean of their gradients, in one message."""
    gradients = [parameter.grad for parameter in parameters]
    together = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(together)
    parts = (together / dist.get_world_size()).split([gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))


def teach(args: argparse.Namespace) -> None:
    processes = Processes.from_environment()
    torch.manual_seed(args.seed)
    data = PretrainData(args.data, args.photos, args.views, args.seed, args.workers)
    model = Qwen2VLForConditionalGeneration.from_pretrained(args.model, dtype=torch.float32)
    model.set_attn_implementation({"text_config": "eager", "vision_config": "tile_attention"})
    model.model.visual.requires_grad_(False)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    if processes.count > 1:
        dist.init_process_group("gloo")
        if processes.rank > 0:
            dist.barrier()  # until the first process has computed all image tokens
    photos = image_tokens(model, data.photos.reshape(-1, *data.tiles.shape[1:]), args.run / "photo_tokens.npy")
    tiles = image_tokens(model, data.tiles, args.run / "tile_tokens.npy")
    groups, tokens = Groups(data, photos, tiles, args.group_size), Tokens(photos, tiles)
    validation = Validation(model, groups, args.data, args.run)
    if processes.count > 1 and processes.rank == 0:
        dist.barrier()
    packer = Packer(tokenizer, lvlm.image_processor(), rope_index(model.model), "negatives_first")
    ranker = GeoRanker(model.model, packer, AdapterInfo(str(args.model)))
    heads = Heads(model.config.text_config.hidden_size)

    parameters = [parameter for parameter in [*model.parameters(), *heads.parameters()] if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=args.learning_rate, betas=(0.9, 0.98), weight_decay=0.05, fused=True)
    checkpoint, first = args.run / "checkpoint.pt", 0
    if args.resume:
        first = load_checkpoint(checkpoint, model=model, heads=heads, optimizer=optimizer)
    if processes.rank == 0:
        print(f"steps {first} to {args.steps}; validation: {validation(ranker, heads, tiles)}", flush=True)

    weights = torch.tensor(list(WEIGHTS.values()))
    log = LossLog(WEIGHTS, args.log_every, "groups", args.groups * processes.count)
    for step in range(first, args.steps):
        rng = np.random.default_rng((args.seed, step))
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, args.steps, args.learning_rate, args.warmup, fall=0.5)
        # All groups of a step with negatives or texts, or none: padding them to the same length would waste time.
        kinds = bool(rng.random() < args.negatives), bool(rng.random() < args.texts)
        rng = np.random.default_rng((args.seed, step, processes.rank))
        drawn = [groups.draw(rng, *kinds) for _ in range(args.groups)]
        asked = rng.choice(len(photos), args.lessons, replace=False)
        points, extra = groups.photo_points[asked], data.tile_points[rng.integers(len(data.tile_points), size=1024)]
        lessons = guess_lessons(packer.frame, points, np.arange(args.lessons))
        batch = packer.pack(*shown([group.query for group in drawn], tokens))
        with torch.autocast("cpu", torch.bfloat16):
            states, token_states = read(ranker, batch)
            pictures = torch.from_numpy(photos[asked])
            guess, before = lesson_loss(model, tokenizer, lessons, pictures)
        located = heads.answer_to_location(before)
        state = place_loss(heads.location, heads.log_scale, located, points, extra)
        losses = torch.cat(
            [
                group_losses(heads, states, drawn, groups),
                token_losses(heads, token_states, drawn, groups),
                torch.stack([guess, state]),
            ]
        )
        (losses * weights).sum().backward()
        if processes.count > 1:
            average_gradients(parameters)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()

        done = step + 1
        if processes.rank > 0:
            continue
        log.add(done, losses)
        if done % args.save_every == 0 or done == args.steps:
            save_checkpoint(checkpoint, done, model=model, heads=heads, optimizer=optimizer)
            lvlm.save(model, tokenizer, args.output_dir)
            print(f"step {done}  validation: {validation(ranker, heads, tiles)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", type=Path, default=DEFAULT_DIR, help="the built benchmark (default: %(default)s)")
    add("--model", type=Path, default=Path("checkpoints/earth-base"), help="where the first stage is (%(default)s)")
    add("--output_dir", type=Path, default=Path("checkpoints/earth-base"), help="(%(default)s)")
    add("--run", type=Path, default=Path("runs/earth-language"), help="checkpoint, image tokens (%(default)s)")
    add("--photos", type=Path, default=Path("runs/earth-base/photos.npy"), help="of the first stage (%(default)s)")
    add("--resume", action="store_true", help="go on from the checkpoint in --run")
    add("--steps", type=int, default=4000, help="(%(default)s)")
    add("--groups", type=int, default=16, help="groups a step (%(default)s)")
    add("--group_size", type=int, default=8, help="candidates in a group (%(default)s)")
    add("--lessons", type=int, default=64, help="photos a step to guess the coordinates of (%(default)s)")
    add("--negatives", type=float, default=0.3, help="share of steps with negative examples (%(default)s)")
    add("--texts", type=float, default=0.5, help="share of steps with place names (%(default)s)")
    add("--views", type=int, default=4, help="photos of each place, as in the first stage (%(default)s)")
    add("--learning_rate", type=float, default=1.2e-3)
    add("--warmup", type=int, default=50, help="steps (%(default)s)")
    add("--log_every", type=int, default=50)
    add("--save_every", type=int, default=200, help="and validate (%(default)s)")
    add("--workers", type=int, default=2, help="processes that take photos (%(default)s)")
    add("--seed", type=int, default=1)
    args = parser.parse_args()
    if args.group_size < 5 or args.groups < 1 or args.lessons < 1:
        parser.error("--group_size must be at least 5, --groups and --lessons at least 1")
    args.run.mkdir(parents=True, exist_ok=True)
    teach(args)


if __name__ == "__main__":
    main()
