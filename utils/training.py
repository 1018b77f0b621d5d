"""Training a ranker on groups: the data, the batches, and the Trainer that learns from them.

One item is one group (``utils/groups.py``): a query with its candidates and its encoded photos. Everything
about an item follows from the seed, the epoch and the item's number, so that workers, processes and
interruptions change nothing.
"""

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm
from transformers import EvalPrediction, Trainer

from utils.adapter import AdapterInfo
from utils.candidates import Query
from utils.geo_ranker import GeoRanker
from utils.georanking import GeoRankingRow
from utils.groups import Gallery, GroupRule, distances_km, draw_group, evaluation_group
from utils.images import ImageError, ImageStore
from utils.losses import first_order_loss, second_order_loss
from utils.metrics import accuracy, pairwise_accuracy
from utils.packing import EncodedImage, PackedBatch, Packer

logger = logging.getLogger(__name__)

PADDING = -1.0  # stands for "no candidate" in a row of distances; no distance is negative


@dataclass(frozen=True)
class Group:
    """One item: a query, how far its candidates are from the truth, and the photos it shows, by their ids."""

    query: Query
    distances: torch.Tensor  # (candidates,) float32 km
    photos: Mapping[str, EncodedImage]


class EncodedPhotos:
    """Photos of a store by id, decoded and cut into patches when asked for.

    Raises ``ImageError``, naming the photo, for one that cannot be decoded or that the model cannot take.
    """

    def __init__(self, store: ImageStore, packer: Packer) -> None:
        self.store = store
        self.packer = packer

    def __getitem__(self, image_id: str) -> EncodedImage:
        image = self.store.open(image_id)
        try:
            return self.packer.encode(image)
        except ValueError as error:
            raise ImageError(f"{image_id}: {error}") from error


def cache_features(
    ranker: GeoRanker, store: ImageStore, ids: Sequence[str], workers: int = 0, batch_size: int = 64
) -> tuple[dict[str, EncodedImage], list[str]]:
    """Photos as features of the frozen vision tower, by id, and what is wrong with those left out.

    All stay in memory, in the tower's precision: meant for small photos. ``workers`` processes decode.
    """
    loader = DataLoader(
        _Decoded(store, ranker.packer, ids),
        batch_size,
        num_workers=workers,
        collate_fn=list,
        pin_memory=False,
    )
    photos, problems = {}, []
    with tqdm(total=len(ids), desc="encoding photos", unit="photo", disable=None) as progress:
        for batch in loader:
            decoded = {image_id: photo for image_id, photo in batch if isinstance(photo, EncodedImage)}
            problems += [problem for _, problem in batch if isinstance(problem, str)]
            if decoded:
                read = ranker.with_features(list(decoded.values()))
                # What a worker sent lies in shared memory, a file handle a tensor: to keep it is to run out of them.
                photos |= {
                    image_id: EncodedImage(photo.grid_thw.clone(), features=photo.features.cpu())
                    for image_id, photo in zip(decoded, read, strict=True)
                }
            progress.update(len(batch))
    return photos, problems


class _Decoded(Dataset):
    """(id, encoded photo, or what is wrong with it)"""

    def __init__(self, store: ImageStore, packer: Packer, ids: Sequence[str]) -> None:
        self.photos = EncodedPhotos(store, packer)
        self.ids = ids

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[str, EncodedImage | str]:
        try:
            return self.ids[index], self.photos[self.ids[index]]
        except ImageError as error:
            return self.ids[index], str(error)


def show(query: Query, photos: Mapping[str, EncodedImage] | EncodedPhotos) -> Group | None:
    """``query`` with its photos. A candidate whose photo cannot be decoded leaves the group, with a warning.

    None, with a warning, where the query's own photo cannot be decoded or fewer than two candidates remain.
    """
    shown, candidates = {}, []
    try:
        shown[query.image] = photos[query.image]
    except ImageError as error:
        logger.warning("%s: row left out: %s", query.image, error)
        return None
    for candidate in query.candidates:
        try:
            if candidate.image is not None:
                shown[candidate.image] = photos[candidate.image]
            candidates.append(candidate)
        except ImageError as error:
            logger.warning("%s: candidate left out: %s", query.image, error)
    if len(candidates) < 2:
        logger.warning("%s: row left out: fewer than two candidates remain", query.image)
        return None
    query = Query(query.image, tuple(candidates), query.negatives, query.latitude, query.longitude)
    return Group(query, torch.from_numpy(distances_km(query)).float(), shown)


class Groups(Dataset):
    """The groups that ``draw(number)`` makes of so many rows, each with its photos.

    Where a row turns out to have no usable photo the next one takes its place, so that every process still
    gets its share. Raises ValueError when no row is usable.
    """

    def __init__(
        self, count: int, draw: Callable[[int], Query], photos: Mapping[str, EncodedImage] | EncodedPhotos
    ) -> None:
        self.count = count
        self.draw = draw
        self.photos = photos

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Group:
        for number in range(index, index + self.count):
            group = show(self.draw(number % self.count), self.photos)
            if group is not None:
                return group
        raise ValueError(f"none of the {self.count} rows has usable photos")


class TrainingGroups(Groups):
    """A new group of every row in each epoch, the rows in a new order (to be read in sequence).

    Item ``i`` of an epoch is a function of (seed, epoch, i): of the order of the rows in that epoch, and of a
    generator of its own. Every step is whole: rows behind the last full ``batch_size`` of an epoch's order
    are not shown in it. ``steps`` is how long the whole training is, for the schedule of the rule.
    """

    def __init__(
        self,
        rows: Sequence[GeoRankingRow],
        rule: GroupRule,
        photos: Mapping[str, EncodedImage] | EncodedPhotos,
        *,
        batch_size: int,
        steps: int,
        seed: int,
        gallery: Gallery | None = None,
    ) -> None:
        super().__init__(len(rows) - len(rows) % batch_size, self._draw, photos)
        self.rows = rows
        self.rule = rule
        self.gallery = gallery
        self.total = steps * batch_size
        self.seed = seed
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Called by the data loader before each pass."""
        self.epoch = epoch
        self.order = np.random.default_rng((self.seed, epoch)).permutation(len(self.rows))

    def _draw(self, number: int) -> Query:
        progress = min(1.0, (self.epoch * self.count + number) / self.total)
        generator = np.random.default_rng((self.seed, self.epoch, number))
        return draw_group(self.rows[self.order[number]], self.rule, generator, progress, self.gallery)


class EvaluationGroups(Groups):
    """The evaluation group of every row, in the order of the file."""

    def __init__(
        self,
        rows: Sequence[GeoRankingRow],
        rule: GroupRule,
        photos: Mapping[str, EncodedImage] | EncodedPhotos,
    ) -> None:
        super().__init__(len(rows), self._draw, photos)
        self.rows = rows
        self.rule = rule

    def _draw(self, number: int) -> Query:
        return evaluation_group(self.rows[number], self.rule)


class GroupCollator:
    """Groups as one batch: ``packed``, and ``distances`` (B, largest group) km with PADDING at the end."""

    def __init__(self, packer: Packer) -> None:
        self.packer = packer

    def __call__(self, groups: Sequence[Group]) -> dict[str, PackedBatch | torch.Tensor]:
        photos = {image_id: photo for group in groups for image_id, photo in group.photos.items()}
        return {
            "packed": self.packer.pack([group.query for group in groups], photos),
            "distances": pad_sequence([group.distances for group in groups], True, PADDING),
        }


class GroupMetrics:
    """Loss, pairwise accuracy and accuracy of the best-scored candidate over evaluation groups (percent)."""

    def __init__(self, lambda1: float, K: int | None) -> None:
        self.lambda1 = lambda1
        self.K = K

    def __call__(self, prediction: EvalPrediction) -> dict[str, float]:
        """Rewards and distances are (groups, largest group); a negative distance says: no candidate."""
        losses, pairs, chosen = [], [], []
        for rewards, distances in zip(prediction.predictions, prediction.label_ids, strict=True):
            rewards, distances = rewards[distances >= 0], distances[distances >= 0]
            tensors = torch.from_numpy(rewards), torch.from_numpy(distances), self.K
            first, second = first_order_loss(*tensors).item(), second_order_loss(*tensors).item()
            losses.append(self.lambda1 * first + (1 - self.lambda1) * second)
            pairs.append(pairwise_accuracy(rewards, distances))
            chosen.append(distances[rewards.argmax()])
        within_25, within_200 = accuracy(chosen, (25, 200)).tolist()
        return {
            "loss": float(np.mean(losses)),
            "pairwise_accuracy": float(np.nanmean(pairs)),
            "accuracy_25km": within_25,
            "accuracy_200km": within_200,
        }


class RankerTrainer(Trainer):
    """A Trainer whose loss is the mean multi-order distance loss of the groups in a batch.

    ``model`` is a GeoRanker under peft; ``carrier`` is how it reads a batch while training; ``info`` is saved
    with the adapter. Beside the loss its two terms and the pairwise accuracy (percent) are logged, as means
    over the batches of all processes since the last log.
    """

    def __init__(self, *args, info: AdapterInfo, lambda1: float, K: int | None, carrier: str, **kwargs) -> None:
        super().__init__(*args, compute_metrics=GroupMetrics(lambda1, K), **kwargs)
        self.info = info
        self.lambda1 = lambda1
        self.K = K
        self.carrier = carrier
        self.terms: list[torch.Tensor] = []  # one (3,) a batch: first-order, second-order, pairwise accuracy

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        packed, distances = inputs["packed"], inputs["distances"]
        rewards = model(packed, carrier=self.carrier).split(packed.group_sizes)  # B x (candidates,)
        distances = [row[row >= 0] for row in distances]
        pairs = list(zip(rewards, distances, strict=True))
        first = torch.stack([first_order_loss(*pair, self.K) for pair in pairs]).mean()
        second = torch.stack([second_order_loss(*pair, self.K) for pair in pairs]).mean()
        pairwise = np.nanmean([pairwise_accuracy(r.detach().cpu(), d.cpu()) for r, d in pairs])
        self.terms.append(torch.stack([first.detach(), second.detach(), first.new_tensor(pairwise)]))
        loss = self.lambda1 * first + (1 - self.lambda1) * second
        return (loss, rewards) if return_outputs else loss

    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
        """No loss here: GroupMetrics computes it from all rewards (B, largest group), group by group."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad():
            rewards = model(inputs["packed"], carrier="cache")
        return None, pad_sequence(rewards.split(inputs["packed"].group_sizes), True), inputs["distances"]

    def _prepare_inputs(self, inputs):
        # The Trainer would cast distances to half precision under DeepSpeed, and kilometres become ties.
        return {name: value.to(self.args.device) for name, value in inputs.items()}

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            means = self.accelerator.gather(torch.stack(self.terms).mean(0)[None]).mean(0).tolist()
            names = ("first_order_loss", "second_order_loss", "pairwise_accuracy")
            logs.update(zip(names, means, strict=True))
            self.terms.clear()
        super().log(logs, start_time)

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        # An adapter folder holds what inference needs: no pickled arguments with this machine's paths.
        output_dir = output_dir or self.args.output_dir
        if self.args.should_save:
            self.model.save_pretrained(output_dir, state_dict=state_dict, save_embedding_layers=False)
            self.info.save(output_dir)

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        # trainer_state.json is written after this: with it, the checkpoint of every process is complete.
        self.accelerator.wait_for_everyone()

    def save_adapter(self, folder: str | os.PathLike) -> None:
        """Save the adapter into ``folder``, file by file complete; every process must call it."""
        folder = Path(folder)
        partial = folder / ".partial"
        self.save_model(str(partial))
        if self.args.should_save:
            for path in partial.iterdir():
                os.replace(path, folder / path.name)
            partial.rmdir()
        self.accelerator.wait_for_everyone()


def find_checkpoint(path: str | os.PathLike) -> Path:
    """``path`` if it is a complete Trainer checkpoint, else the newest complete one in the folder ``path``.

    A checkpoint whose writing was interrupted is passed over. Raises FileNotFoundError where there is none.
    """
    path = Path(path)
    if _is_complete(path):
        return path
    checkpoints = sorted(path.glob("checkpoint-*"), key=lambda folder: int(folder.name.rpartition("-")[2]))
    for checkpoint in reversed(checkpoints):
        if _is_complete(checkpoint):
            return checkpoint
    raise FileNotFoundError(f"{path} is no complete training checkpoint and holds none")


def _is_complete(checkpoint: Path) -> bool:
    """The Trainer writes its state last; a kill while it is written leaves text that is no JSON."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_text())
    except (FileNotFoundError, ValueError):
        return False
    return True
