"""Teach the tiny LVLM's language model to use what its tower sees: the third stage of pretraining.

    python -m earth.lvlm.pretrain_language              # goes on from the weights of earth.lvlm.pretrain_tower
    python -m earth.lvlm.pretrain_language --resume     # go on after an interruption
    torchrun --nproc_per_node 2 -m earth.lvlm.pretrain_language   # as many groups and lessons in each process

The first two stages leave a tower that knows the Earth well and a language model that listens to it little. Here the
tower is frozen and every picture's tokens are computed once, so all the time goes into the language model.
earth/lvlm/language_losses.py says what it has to learn. The ranker's own training (finetune_geo_ranker.py) sees other
places than these.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from transformers import AutoTokenizer, Qwen2VLForConditionalGeneration

from earth.lvlm import model as lvlm
from earth.lvlm.contrast import place_loss
from earth.lvlm.language_data import TOPK, Groups, Tokens, draw_guess, embeddings, image_tokens
from earth.lvlm.language_losses import WEIGHTS, Heads, group_losses, read
from earth.lvlm.pretrain_data import POOL, PretrainData, validation_photos
from earth.lvlm.pretrain_lvlm import guess_lessons, lesson_loss
from earth.lvlm.schedule import LossLog, Trainer, add_flags, add_flags_of_later_stages, learning_rate, parse
from utils.candidates import NUM_NEGATIVES, Candidate, Query
from utils.evaluation.metrics import accuracy
from utils.geo_ranker import GeoRanker, rope_index
from utils.geography.geodesy import haversine_km
from utils.jobs.processes import Processes
from utils.model.adapter_info import AdapterInfo
from utils.model.packing import Packer


class Validation:
    """The first POOL candidates of the validation photos, and as many guesses as a group has, ranked by the heads."""

    def __init__(self, model: Qwen2VLForConditionalGeneration, groups: Groups, data: Path, run: Path) -> None:
        pictures, points = validation_photos(data)
        self.tokens = image_tokens(model, pictures, run / "val_tokens.npy")
        found, _ = groups.index.search(embeddings(self.tokens), TOPK)
        rng = np.random.default_rng(0)
        self.queries, km = [], []
        for photo, (point, row) in enumerate(zip(points, found.tolist(), strict=True)):
            guesses = [Candidate(*draw_guess(point, rng), source="generation") for _ in range(groups.guesses)]
            candidates = (*map(groups.candidate, row[:POOL]), *guesses)
            negatives = tuple(map(groups.candidate, row[-NUM_NEGATIVES:]))
            self.queries.append(Query(f"photo {photo}", candidates, negatives))
            places = np.array([(candidate.latitude, candidate.longitude) for candidate in candidates])
            km.append(haversine_km(*point, *places.T))
        self.km = np.stack(km)  # (photos, POOL + guesses)

    @torch.inference_mode()
    def __call__(self, ranker: GeoRanker, heads: Heads, tiles: np.ndarray, batch_size: int = 25) -> str:
        """Accuracy among the tiles, in % within 25 / 200 km; and how often the nearest guess has the highest reward."""
        photos = Tokens(self.tokens, tiles)
        rewards, log_km = [], []
        for start in range(0, len(self.queries), batch_size):
            batch = ranker.packer.pack(*shown(self.queries[start : start + batch_size], photos))
            with torch.autocast("cpu", torch.bfloat16):
                states = ranker.read(batch).float()
            rewards.append(heads.rank(states).view(-1, self.km.shape[1]))
            log_km.append(heads.log_km(states).view(-1, self.km.shape[1]))
        rewards, log_km, km = torch.cat(rewards).numpy(), torch.cat(log_km).numpy(), self.km[:, :POOL]
        picks = {
            "first": np.zeros(len(km), dtype=int),
            "highest reward": rewards[:, :POOL].argmax(1),
            "fewest km": log_km[:, :POOL].argmin(1),
            "oracle": km.argmin(1),
        }
        within = {name: accuracy(km[np.arange(len(km)), pick], (25, 200)) for name, pick in picks.items()}
        nearest = np.mean(rewards[:, POOL:].argmax(1) == self.km[:, POOL:].argmin(1))
        said = [f"{name} {near:.1f} / {far:.1f}" for name, (near, far) in within.items()]
        return "  ".join([*said, f"nearest guess {nearest:.1%}"])


def shown(queries: list[Query], photos: Tokens) -> tuple[list[Query], dict]:
    """The queries with the photos that their prompts show."""
    ids = dict.fromkeys(
        image_id
        for query in queries
        for image_id in (query.image, *(candidate.image for candidate in query.candidates))
        if image_id is not None
    )
    return queries, {image_id: photos[image_id] for image_id in ids}


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
    data = PretrainData(args.data, args.photos, args.views, args.photo_seed, args.workers)
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
    groups, tokens = Groups(data, photos, tiles, args.group_size, args.guesses), Tokens(photos, tiles)
    validation = Validation(model, groups, args.data, args.run)
    if processes.count > 1 and processes.rank == 0:
        dist.barrier()
    packer = Packer(tokenizer, lvlm.image_processor(), rope_index(model.model), "negatives_first")
    ranker = GeoRanker(model.model, packer, AdapterInfo(str(args.model)))
    heads = Heads(model.config.text_config.hidden_size)

    trainer = Trainer(args.run, model=model, heads=heads)
    first = trainer.load() if args.resume else 0
    if processes.rank == 0:
        print(f"steps {first} to {args.steps}; validation: {validation(ranker, heads, tiles)}", flush=True)

    weights = torch.tensor(list(WEIGHTS.values()))
    log = LossLog(WEIGHTS, args.log_every, "groups", args.groups * processes.count)
    for step in range(first, args.steps):
        rng = np.random.default_rng((args.seed, step))
        # All groups of a step with negatives or texts, or none: padding them to the same length would waste time.
        kinds = bool(rng.random() < args.negatives), bool(rng.random() < args.texts)
        rng = np.random.default_rng((args.seed, step, processes.rank))
        drawn = [groups.draw(rng, *kinds) for _ in range(args.groups)]
        asked = rng.choice(len(photos), args.lessons, replace=False)
        points, extra = groups.photo_points[asked], data.tile_points[rng.integers(len(data.tile_points), size=1024)]
        lessons = guess_lessons(packer.frame, points, np.arange(args.lessons))
        batch = packer.pack(*shown([group.query for group in drawn], tokens))
        with torch.autocast("cpu", torch.bfloat16):
            states = read(ranker, batch)
            pictures = torch.from_numpy(photos[asked])
            guess, before = lesson_loss(model, tokenizer, lessons, pictures)
        located = heads.answer_to_location(before)
        state = place_loss(heads.location, heads.log_scale, located, points, extra)
        losses = torch.cat([group_losses(heads, states, drawn, groups, extra), torch.stack([guess, state])])
        (losses * weights).sum().backward()
        if processes.count > 1:
            average_gradients(trainer.parameters)
        trainer.step(learning_rate(step, args.steps, args.learning_rate, args.warmup, fall=0.5))

        done = step + 1
        if processes.rank > 0:
            continue
        log.add(done, losses)
        if done % args.save_every == 0 or done == args.steps:
            trainer.save(done)
            lvlm.save(model, tokenizer, args.output_dir)
            print(f"step {done}  validation: {validation(ranker, heads, tiles)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_flags(parser, "runs/earth-language", steps=4000, peak=1.2e-3, save_every=200, seed=1)
    add_flags_of_later_stages(parser)
    add = parser.add_argument
    add("--groups", type=int, default=16, help="groups a step (%(default)s)")
    add("--group_size", type=int, default=10, help="candidates in a group (%(default)s)")
    add("--guesses", type=int, default=3, help="of them places without a picture (%(default)s)")
    add("--lessons", type=int, default=64, help="photos a step to guess the coordinates of (%(default)s)")
    add("--negatives", type=float, default=0.3, help="share of steps with negative examples (%(default)s)")
    add("--texts", type=float, default=0.5, help="share of steps with place names (%(default)s)")
    add("--warmup", type=int, default=50, help="steps (%(default)s)")
    args = parse(parser)
    if args.guesses < 1 or args.group_size - args.guesses < 4 or args.groups < 1 or args.lessons < 1:
        parser.error(
            "--guesses, --groups and --lessons must be at least 1, --group_size at least 4 more than --guesses"
        )
    teach(args)


if __name__ == "__main__":
    main()
