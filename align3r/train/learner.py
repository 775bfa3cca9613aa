"""One step of learning: gradients of many batches, clipped, and what the optimiser does."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from align3r.device import resolve_precision
from align3r.errors import InputError, SolveError, UsageError
from align3r.train.averaging import Average
from align3r.train.common_options import LoopOptions
from align3r.train.means import StepSums
from align3r.train.processes import Processes
from align3r.train.task import Batch, Task

_HINT = (
    "resume with --loop.precision fp32, or a smaller --loop.learning-rate or --loop.clip: it goes "
    "on after its last checkpoint"
)


class Learner:
    """A task, its optimiser, and whatever else changes from step to step."""

    def __init__(self, task: Task, options: LoopOptions, processes: Processes) -> None:
        self.parameters = task.trained()
        if not self.parameters:
            raise UsageError("nothing is trained", hint="freeze less of the network")
        self._task, self._options, self._processes = task, options, processes
        processes.share(self.parameters.values())
        self._optimiser = _optimiser(self.parameters, options)
        device = processes.device
        self._dtype = resolve_precision(options.precision, device)
        self._scaler = torch.amp.GradScaler(device.type, enabled=self._dtype is torch.float16)
        decay = options.ema
        self.average = None if decay is None else Average(self.parameters, decay)

    @property
    def is_exact(self) -> bool:
        """Whether all is computed in float32."""
        return self._dtype is torch.float32

    def autocast(self) -> AbstractContextManager[Any]:
        """The number formats in which networks compute."""
        kind = self._processes.device.type
        return torch.autocast(kind, self._dtype, enabled=not self.is_exact)

    def step(self, step: int, batches: Sequence[Batch], rate: float) -> dict[str, float]:
        """Learn from the batches of a step.

        Args:
            step: Its number, from 0, which random numbers depend on.
            batches: Those of this process.
            rate: Learning rate.

        Returns:
            Means over the batches of all processes, and `gradient_norm`, before it is clipped.

        Raises:
            SolveError: A loss or a gradient is not finite; nothing has changed then.
        """
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.zero_grad(set_to_none=True)
        sums = StepSums()
        for k, batch in enumerate(batches):
            # By the number of the batch, whichever process has it.
            _seed(self._options.seed, step, self._processes.rank + k * self._processes.world)
            with self.autocast():
                losses = self._task(batch.to(self._processes.device))
            sums.add(losses, batch.weight)
            self._scaler.scale(losses["loss"] * batch.weight).backward()
        means, total = self._together(sums, batches, step)
        norm = self._apply(total, step)
        if self.average is not None:
            self.average.update(step + 1)
        return {**means, "gradient_norm": norm}

    def _together(
        self, sums: StepSums, batches: Sequence[Batch], step: int
    ) -> tuple[dict[str, float], float]:
        """Means over all processes, and what the batches weigh together.

        Raises:
            SolveError: A loss is not finite, here or elsewhere.
        """
        bad = sums.not_finite("loss")
        totals, weights = sums.sums()
        row = torch.cat([totals, weights, totals.new_tensor([len(bad)])])
        *numbers, failed = self._processes.sum(row).tolist()
        if failed:
            names = [name for k in bad for views in batches[k].names for name in views]
            where = f"of {_listed(names)}" if names else "in another process"
            raise SolveError(
                f"the loss {where} is not finite in step {step + 1}",
                hint=f"look at these images, or {_HINT}",
            )
        half = len(sums.names)
        means = {
            name: total / weight if weight else math.nan
            for name, total, weight in zip(sums.names, numbers[:half], numbers[half:], strict=True)
        }
        return means, numbers[half + sums.names.index("loss")]

    def _apply(self, weight: float, step: int) -> float:
        """Change the parameters by their gradients, which are sums of so much weight; their norm.

        Raises:
            SolveError: The norm is not finite, though no number has been scaled.
        """
        parameters = list(self.parameters.values())
        self._processes.sum_gradients(parameters)
        self._scaler.unscale_(self._optimiser)
        for parameter in parameters:
            assert parameter.grad is not None
            parameter.grad /= weight
        norm = float(nn.utils.clip_grad_norm_(parameters, self._options.clip or math.inf))
        if not math.isfinite(norm) and not self._scaler.is_enabled():
            raise SolveError(f"the gradient of step {step + 1} is not finite", hint=_HINT)
        self._scaler.step(self._optimiser)
        self._scaler.update()
        return norm

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint holds of this: parameters, average, the optimiser's moments."""
        found = {f"parameter.{name}": value.detach() for name, value in self.parameters.items()}
        if self.average is not None:
            found |= {f"average.{name}": value for name, value in self.average.values.items()}
        moments = self._optimiser.state_dict()["state"]
        for k, name in enumerate(_ordered(self.parameters)):
            found |= {f"{key}.{name}": value for key, value in moments.get(k, {}).items()}
        return found

    def state(self) -> dict[str, Any]:
        """What else a checkpoint holds: plain values."""
        return dict(self._scaler.state_dict())

    def load(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint.

        Raises:
            InputError: It is of another network.
        """
        try:
            with torch.no_grad():
                for name, value in self.parameters.items():
                    value.copy_(_fitting(tensors[f"parameter.{name}"], value))
            if self.average is not None:
                self.average.load({n: tensors[f"average.{n}"] for n in self.parameters})
            names = _ordered(self.parameters)
            moments = {
                k: {key: tensors[f"{key}.{name}"] for key in ("step", "exp_avg", "exp_avg_sq")}
                for k, name in enumerate(names)
                if f"step.{name}" in tensors
            }
        except (KeyError, ValueError) as error:
            raise InputError(
                f"the checkpoint does not fit the network: {error}",
                hint="resume with the weights that the training was started with",
            ) from error
        groups = self._optimiser.state_dict()["param_groups"]
        self._optimiser.load_state_dict({"state": moments, "param_groups": groups})
        if state:  # None of a run without a scaler.
            self._scaler.load_state_dict(dict(state))


def _optimiser(parameters: Mapping[str, nn.Parameter], options: LoopOptions) -> torch.optim.AdamW:
    """AdamW; biases and norms, which have one dimension, do not decay."""
    groups = [
        {"params": [p for p in parameters.values() if (p.ndim > 1) is decays], "weight_decay": w}
        for decays, w in ((True, options.weight_decay), (False, 0.0))
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=0.0, betas=options.betas)


def _ordered(parameters: Mapping[str, nn.Parameter]) -> list[str]:
    """Names in the order in which the optimiser numbers them."""
    return sorted(parameters, key=lambda name: parameters[name].ndim <= 1)


def _fitting(tensor: Tensor, like: Tensor) -> Tensor:
    if tensor.shape != like.shape:
        raise ValueError(f"{list(tensor.shape)} numbers, not {list(like.shape)}")
    return tensor


def _seed(*numbers: int) -> None:
    """Set what random numbers of a batch come from; nothing else has to be kept to go on."""
    torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1))


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more
