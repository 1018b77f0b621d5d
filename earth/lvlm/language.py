"""The third stage of pretraining: the language model on a frozen tower. ``pretrain_language`` is its command."""

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from transformers import AutoTokenizer, Qwen2VLForConditionalGeneration

from earth.lvlm import model as lvlm
from earth.lvlm.contrast import place_loss
from earth.lvlm.data import PretrainData, validation_photos
from earth.lvlm.language_data import PhotoGroup, PhotoGroups, Tokens, draw_guess, embeddings, image_tokens, shown
from earth.lvlm.language_losses import WEIGHTS, LanguageHeads, candidate_states, group_losses
from earth.lvlm.lessons import guess_lessons, lesson_loss
from earth.lvlm.mixed_precision import mixed_precision
from earth.lvlm.tiles import use_tile_attention
from earth.lvlm.trainer import LossLog, Trainer, average_gradients, learning_rate
from earth.recipe import TOPK, TOPN
from utils.candidates import NUM_NEGATIVES, Candidate, Query
from utils.evaluation.metrics import accuracy
from utils.geo_ranker import GeoRanker
from utils.geography.geodesy import haversine_km
from utils.jobs.processes import Processes
from utils.model.adapter_info import AdapterInfo
from utils.model.packing import Packer
from utils.model.rope_index import rope_index


class Validation:
    """The first TOPN candidates of the validation photos, and as many guesses as a group has, ranked by the heads."""

    def __init__(self, model: Qwen2VLForConditionalGeneration, groups: PhotoGroups, data: Path, run: Path) -> None:
        pictures, points = validation_photos(data)
        self.tokens = image_tokens(model, pictures, run / "val_tokens.npy")
        found, _ = groups.index.search(embeddings(self.tokens), TOPK)
        rng = np.random.default_rng(0)
        self.queries, km = [], []
        for photo, (point, row) in enumerate(zip(points, found.tolist(), strict=True)):
            guesses = [Candidate(*draw_guess(point, rng), source="generation") for _ in range(groups.guesses)]
            candidates = (*map(groups.candidate, row[:TOPN]), *guesses)
            negatives = tuple(map(groups.candidate, row[-NUM_NEGATIVES:]))
            self.queries.append(Query(f"photo {photo}", candidates, negatives))
            places = np.array([(candidate.latitude, candidate.longitude) for candidate in candidates])
            km.append(haversine_km(*point, *places.T))
        self.km = np.stack(km)  # (photos, TOPN + guesses)

    @torch.inference_mode()
    def __call__(self, ranker: GeoRanker, heads: LanguageHeads, tiles: np.ndarray, batch_size: int = 25) -> str:
        """Accuracy among the tiles, in % within 25 / 200 km; and how often the nearest guess has the highest reward."""
        photos = Tokens(self.tokens, tiles)
        rewards, log_km = [], []
        for start in range(0, len(self.queries), batch_size):
            batch = ranker.packer.pack(*shown(self.queries[start : start + batch_size], photos))
            with mixed_precision():
                states = ranker.last_hidden(batch).float()
            rewards.append(heads.rank(states).view(-1, self.km.shape[1]))
            log_km.append(heads.log_km(states).view(-1, self.km.shape[1]))
        rewards, log_km, km = torch.cat(rewards).numpy(), torch.cat(log_km).numpy(), self.km[:, :TOPN]
        picks = {
            "first": np.zeros(len(km), dtype=int),
            "highest reward": rewards[:, :TOPN].argmax(1),
            "fewest km": log_km[:, :TOPN].argmin(1),
            "oracle": km.argmin(1),
        }
        within = {name: accuracy(km[np.arange(len(km)), pick], (25, 200)) for name, pick in picks.items()}
        nearest = np.mean(rewards[:, TOPN:].argmax(1) == self.km[:, TOPN:].argmin(1))
        said = [f"{name} {near:.1f} / {far:.1f}" for name, (near, far) in within.items()]
        return "  ".join([*said, f"nearest guess {nearest:.1%}"])


class Teaching:
    """The model, what it is taught with (the frozen tower's tokens, groups made of them) and what checks it."""

    def __init__(self, args: argparse.Namespace, processes: Processes) -> None:
        """``args``: as ``pretrain_language`` parses them. The first process computes the tokens, the others wait."""
        data = PretrainData(args.data, args.photos, args.views, args.photo_seed, args.workers)
        self.model = Qwen2VLForConditionalGeneration.from_pretrained(args.model, dtype=torch.float32)
        use_tile_attention(self.model, text_config="eager")
        self.model.model.visual.requires_grad_(False)
        self.tokenizer = AutoTokenizer.from_pretrained(args.model)
        if processes.count > 1:
            dist.init_process_group("gloo")
            if processes.rank > 0:
                dist.barrier()  # until the first process has computed all image tokens
        pictures = data.photos.reshape(-1, *data.tiles.shape[1:])
        self.photos = image_tokens(self.model, pictures, args.run / "photo_tokens.npy")
        self.tiles = image_tokens(self.model, data.tiles, args.run / "tile_tokens.npy")
        self.groups = PhotoGroups(data, self.photos, self.tiles, args.group_size, args.guesses)
        self.tokens = Tokens(self.photos, self.tiles)
        self.validation = Validation(self.model, self.groups, args.data, args.run)
        if processes.count > 1 and processes.rank == 0:
            dist.barrier()
        packer = Packer(self.tokenizer, lvlm.image_processor(), rope_index(self.model.model), "negatives_first")
        self.ranker = GeoRanker(self.model.model, packer, AdapterInfo(str(args.model)))
        self.heads = LanguageHeads(self.model.config.text_config.hidden_size)

    def losses(self, drawn: list[PhotoGroup], lessons: int, rng: np.random.Generator) -> torch.Tensor:
        """The losses that WEIGHTS names, (10,), of groups and of ``lessons`` photos whose coordinates are asked for."""
        groups, heads, packer = self.groups, self.heads, self.ranker.packer
        asked = rng.choice(len(self.photos), lessons, replace=False)
        points = groups.photo_points[asked]
        extra = groups.tile_points[rng.integers(len(groups.tile_points), size=1024)]
        batch = packer.pack(*shown([group.query for group in drawn], self.tokens))
        with mixed_precision():
            states = candidate_states(self.ranker, batch)
            pictures = torch.from_numpy(self.photos[asked])
            guesses = guess_lessons(packer.frame, points, np.arange(lessons))
            guess, before = lesson_loss(self.model, self.tokenizer, guesses, pictures)
        located = heads.answer_to_location(before)
        state = place_loss(heads.location, heads.log_scale, located, points, extra)
        return torch.cat([group_losses(heads, states, drawn, groups, extra), torch.stack([guess, state])])

    def validate(self) -> str:
        return self.validation(self.ranker, self.heads, self.tiles)


def teach(args: argparse.Namespace) -> None:
    """Teach the language model of ``args.model``, or go on with it, and save the model into ``args.output_dir``."""
    processes = Processes.from_environment()
    torch.manual_seed(args.seed)
    teaching = Teaching(args, processes)
    trainer = Trainer(args.run, model=teaching.model, heads=teaching.heads)
    first = trainer.load() if args.resume else 0
    if processes.rank == 0:
        print(f"steps {first} to {args.steps}; validation: {teaching.validate()}", flush=True)

    weights = torch.tensor(list(WEIGHTS.values()))
    log = LossLog(WEIGHTS, args.log_every, "groups", args.groups * processes.count)
    for step in range(first, args.steps):
        rng = np.random.default_rng((args.seed, step))
        # All groups of a step with negatives or texts, or none: padding them to the same length would waste time.
        kinds = bool(rng.random() < args.negatives), bool(rng.random() < args.texts)
        rng = np.random.default_rng((args.seed, step, processes.rank))
        drawn = [teaching.groups.draw(rng, *kinds) for _ in range(args.groups)]
        losses = teaching.losses(drawn, args.lessons, rng)
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
            lvlm.save(teaching.model, teaching.tokenizer, args.output_dir)
            print(f"step {done}  validation: {teaching.validate()}", flush=True)
