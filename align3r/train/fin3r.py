"""Fin3R: an encoder learns fine detail from a monocular teacher (Ren et al., arXiv 2511.22429).

The decoder and all heads stay as they are; adapters in the encoder are trained. The head that tells
of a view in its own camera learns the teacher's depth; points of several views keep to the truth.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from align3r.evaluate.pictures import single_depth
from align3r.models.lora import LoraSettings
from align3r.progress import Report
from align3r.train.data.values import Batch
from align3r.train.distillation import distilled
from align3r.train.lora import add_adapters, resume_adapters, save_adapters, trained_parameters
from align3r.train.losses import (
    LossSettings,
    fin3r_loss,
    mean_over_images,
    pair_losses,
)
from align3r.train.options import Fin3rOptions, LossOptions
from align3r.train.students import StudentAnswer, answer, load_student
from align3r.train.truth import points_in_first_camera

Validate = Callable[[nn.Module, Report], dict[str, float]]


class Fin3rTask(nn.Module):
    """What is trained, and how its loss is computed; see `loop.Task`."""

    def __init__(
        self,
        network: nn.Module,
        *,
        loss: LossOptions | None = None,
        base: str | None = None,
        validation: Validate | None = None,
    ) -> None:
        """Take a network with adapters.

        Args:
            network: One of `students.STUDENTS`, all frozen but its adapters.
            loss: Its form, and what the paper leaves open.
            base: Name of the weights without the adapters, for who reads their file.
            validation: Measures a network on what is held out; None: nothing is.
        """
        super().__init__()
        self.network = network
        self._loss = loss or LossOptions()
        self._base = base
        self._validation = validation

    @classmethod
    def from_options(
        cls, options: Fin3rOptions, *, validation: Validate | None = None
    ) -> Fin3rTask:
        """Load a student, on the CPU, and give it adapters: new ones, or those of a file.

        Raises:
            WeightsError: Weights or adapters are not to be had, damaged, or of another network.
            UsageError: They are not those of the student, or the settings make no sense.
        """
        network = load_student(options.student, options.weights)
        if options.adapter is not None:
            resume_adapters(network, options.adapter)
        else:
            lora = options.lora
            settings = LoraSettings(rank=lora.rank, alpha=lora.alpha, renorm=lora.renorm)
            add_adapters(network, settings, seed=options.loop.seed)
        base = options.weights or options.student
        return cls(network, loss=options.loss, base=base, validation=validation)

    def trained(self) -> dict[str, nn.Parameter]:
        """What an optimiser gets, by name: the adapters."""
        return {f"network.{name}": p for name, p in trained_parameters(self.network).items()}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """`loss`, its two parts and the confidence in depth, all (); no `replay` is nan."""
        replays = self._loss.replay and bool(batch.is_multi_view.any())
        answered = answer(self.network, batch.images, batch.point_maps, joint=replays)
        # What was true when it was read shall not be rounded to the precision of the network.
        with torch.autocast(batch.images.device.type, enabled=False):
            multi_view = batch.is_multi_view[:, None].expand(batch.label.shape[:2])
            distillation = distilled(answered, batch, self._loss)
            if not self._loss.distil_multi_view:
                distillation = torch.where(multi_view, 0.0, distillation)
            replay = self._replay(answered, batch) if replays else torch.zeros_like(distillation)
            loss = fin3r_loss(distillation.flatten(), replay.flatten(), multi_view.flatten())
        parts = {
            "distillation": distillation.mean(),
            "replay": replay[multi_view].mean(),
            "confidence": answered.own_confidence.mean(),
        }
        return {"loss": loss, **{name: value.detach() for name, value in parts.items()}}

    @torch.no_grad()
    def pictures(self, batch: Batch) -> dict[str, np.ndarray]:
        """(H', W', 3) uint8: views of the first sample with label, answer and their ratio below."""
        answered = answer(self.network, batch.images[:1], _first(batch.point_maps), joint=False)
        depth = answered.depth[0].float().cpu().numpy()
        images = (batch.images[0].permute(0, 2, 3, 1) * 255).round().byte().cpu().numpy()
        labels = batch.label[0].cpu().numpy()
        columns = [
            single_depth(image, label, ours)
            for image, label, ours in zip(images, labels, depth, strict=True)
            if np.isfinite(label).any()
        ]
        return {"image, label, depth, ratio": np.concatenate(columns, axis=1)} if columns else {}

    def save(self, folder: Path) -> None:
        """Write the adapters as a folder that `--network.adapter` takes, whole or not at all.

        Raises:
            UsageError: The folder holds something else.
            InputError: The place cannot be written.
        """
        save_adapters(self.network, folder, base=self._base)

    def validate(self, report: Report) -> dict[str, float]:
        """Metrics on what is held out, by name."""
        return {} if self._validation is None else self._validation(self.network, report)

    def _replay(self, answered: StudentAnswer, batch: Batch) -> Tensor:
        """(B, S) loss of each view's points against the truth, in the camera of the first view."""
        assert answered.points is not None and answered.points_confidence is not None
        truth = points_in_first_camera(batch)
        valid = truth.isfinite().all(-1) & batch.is_multi_view[:, None, None, None]
        views = [x.unbind(1) for x in (answered.points, answered.points_confidence, truth, valid)]
        settings = LossSettings(
            distance=self._loss.replay_distance,
            confidence_weight=self._loss.replay_confidence_weight,
        )
        losses = pair_losses(*views, settings=settings)
        means = [mean_over_images(loss, v) for loss, v in zip(losses, views[3], strict=True)]
        return torch.stack(means, 1)


def _first(point_maps: Tensor | None) -> Tensor | None:
    return None if point_maps is None else point_maps[:1]
