"""Training a ranker on groups: the Trainer, its loss and its figures.

The batches come from ``utils/training/batches.py``.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from accelerate.utils import gather_object
from safetensors import SafetensorError
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from transformers import EvalPrediction, Trainer

from utils.evaluation.metrics import accuracy, pairwise_accuracy
from utils.jobs.files import move_files
from utils.model.adapter_info import AdapterInfo
from utils.model.sharing import Sharing
from utils.training.batches import LeftOut
from utils.training.losses import mean_loss, multi_order_loss

logger = logging.getLogger(__name__)


class GroupMetrics:
    """Loss, pairwise accuracy and accuracy of the best-scored candidate over evaluation groups (percent)."""

    def __init__(self, lambda1: float, K: int | None) -> None:
        self.lambda1 = lambda1
        self.K = K

    def __call__(self, prediction: EvalPrediction) -> dict[str, float]:
        """Rewards and distances are (groups, largest group); a negative distance says: no candidate.

        A group without any candidate does not count.
        """
        losses, pairs, chosen = [], [], []
        for rewards, distances in zip(prediction.predictions, prediction.label_ids, strict=True):
            rewards, distances = rewards[distances >= 0], distances[distances >= 0]
            if not len(distances):
                continue
            tensors = torch.from_numpy(rewards), torch.from_numpy(distances)
            losses.append(multi_order_loss(*tensors, self.lambda1, self.K))
            pairs.append(pairwise_accuracy(rewards, distances))
            chosen.append(distances[rewards.argmax()])
        within_25, within_200 = accuracy(chosen, (25, 200)).tolist()
        return {
            "loss": mean_loss(losses, torch.float64).total.item(),
            "pairwise_accuracy": float(np.nanmean(pairs)),
            "accuracy_25km": within_25,
            "accuracy_200km": within_200,
        }


class RankerTrainer(Trainer):
    """A Trainer whose loss is the mean multi-order distance loss of the groups in a batch.

    ``model`` is a GeoRanker under peft; ``sharing`` is how a query's candidates share its prefix in training; ``info``
    is saved with the adapter. Beside the loss its two terms and the pairwise accuracy (percent) are logged, as means
    over the batches of all processes since the last log. A photo that cannot be decoded is named in a warning
    when it is first met; the last log says how many there were, and how many candidates and rows of training
    groups were left out for them since this process started.
    """

    def __init__(self, *args, info: AdapterInfo, lambda1: float, K: int | None, sharing: Sharing, **kwargs) -> None:
        super().__init__(*args, compute_metrics=GroupMetrics(lambda1, K), **kwargs)
        self.info = info
        self.lambda1 = lambda1
        self.K = K
        self.sharing = sharing
        self.terms: list[torch.Tensor] = []  # one (3,) a batch: first-order, second-order, pairwise accuracy
        self.unreadable: set[str] = set()  # photo ids
        self.left_out = {"candidates_left_out": 0, "rows_left_out": 0}
        self.masters: dict[str, torch.Tensor] = {}  # trained weights by name, while a model is saved under DeepSpeed

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        packed, distances = inputs["packed"], inputs["distances"]
        rewards = model(packed, sharing=self.sharing).split(packed.group_sizes)  # B x (candidates,)
        distances = [row[row >= 0] for row in distances]
        pairs = list(zip(rewards, distances, strict=True))
        loss = mean_loss([multi_order_loss(*pair, self.lambda1, self.K) for pair in pairs])
        pairwise = loss.first.new_tensor([pairwise_accuracy(r.detach().cpu(), d.cpu()) for r, d in pairs]).nanmean()
        self.terms.append(torch.stack([loss.first.detach(), loss.second.detach(), pairwise]))
        return (loss.total, rewards) if return_outputs else loss.total

    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
        """No loss here: GroupMetrics computes it from all rewards (B, largest group), group by group."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad():
            rewards = model(inputs["packed"], sharing="prefix_cache")
        return None, pad_sequence(rewards.split(inputs["packed"].group_sizes), True), inputs["distances"]

    def _prepare_inputs(self, inputs):
        self._note(inputs["left_out"])
        # The Trainer would cast distances to half precision under DeepSpeed, and kilometres become ties.
        return {name: inputs[name].to(self.args.device, non_blocking=True) for name in ("packed", "distances")}

    def _note(self, left_out: list[LeftOut]) -> None:
        for photo, is_row, message in left_out:
            if photo not in self.unreadable:
                logger.warning(message)
            if photo is not None:
                self.unreadable.add(photo)
            if self.model.training:
                self.left_out["rows_left_out" if is_row else "candidates_left_out"] += 1

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            means = mean_terms(self.accelerator.gather(mean_terms(torch.stack(self.terms))[None])).tolist()
            names = ("first_order_loss", "second_order_loss", "pairwise_accuracy")
            logs.update(zip(names, means, strict=True))
            self.terms.clear()
        if "train_runtime" in logs:
            processes = gather_object([(self.unreadable, self.left_out)])
            logs["unreadable_photos"] = len(set().union(*(photos for photos, _ in processes)))
            for name in self.left_out:
                logs[name] = sum(counts[name] for _, counts in processes)
        super().log(logs, start_time)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        # All processes get here, and each has a part of them.
        self.masters = master_weights(self.model) if self.is_deepspeed_enabled else {}
        super().save_model(output_dir, _internal_call)

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        # An adapter folder holds what inference needs: no pickled arguments with this machine's paths.
        output_dir = output_dir or self.args.output_dir
        if self.args.should_save:
            if state_dict is not None:
                state_dict = state_dict | self.masters
            self.model.save_pretrained(output_dir, state_dict=state_dict, save_embedding_layers=False)
            self.info.save(output_dir)

    def _save_checkpoint(self, model: nn.Module, trial: None) -> None:
        with saving(self.args.output_dir):
            super()._save_checkpoint(model, trial)

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        # trainer_state.json is written after this: with it, the checkpoint of every process is complete.
        self.accelerator.wait_for_everyone()

    def save_adapter(self, folder: str | os.PathLike) -> None:
        """Save the adapter into ``folder``, file by file complete; every process must call it."""
        folder = Path(folder)
        partial = folder / ".partial"
        with saving(folder):
            self.save_model(str(partial))
            if self.args.should_save:
                move_files(partial, folder, last=".safetensors")
        self.accelerator.wait_for_everyone()


@contextmanager
def saving(folder: str | os.PathLike) -> Iterator[None]:
    """Whatever keeps the block from saving into ``folder``, such as a full disk, becomes an ``OSError`` naming it."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:  # torch raises a RuntimeError
        first_line, *_ = str(error).split("\n")
        raise OSError(f"{folder}: could not be saved: {first_line}") from error


def master_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """The trained weights as DeepSpeed's optimiser has them, float32 on the CPU, gathered from all processes.

    The model itself computes with them rounded to its precision.
    """
    from deepspeed.utils import safe_get_full_fp32_param

    trained = ((name, weight) for name, weight in model.named_parameters() if weight.requires_grad)
    return {name: safe_get_full_fp32_param(weight).cpu() for name, weight in trained}


def mean_terms(terms: torch.Tensor) -> torch.Tensor:
    """Means (3,) of the logged terms (n, 3). Groups whose candidates all tie have no pairwise accuracy (NaN)."""
    return torch.cat([terms[:, :2].mean(0), terms[:, 2:].nanmean(0)])
