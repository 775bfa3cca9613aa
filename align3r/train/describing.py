"""What a training would do, in words, before it does any of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from align3r.device import resolve_device, resolve_precision
from align3r.models.hub import gigabytes
from align3r.models.weights import is_cached, resolve
from align3r.train.checkpoints import steps_saved
from align3r.train.data.batches import Batches
from align3r.train.filling import Options, base_weights, takes_point_maps
from align3r.train.ingredients import labels_folder, open_data, priors_folder, task_of
from align3r.train.options import Fin3rOptions
from align3r.train.priors import TRUTH
from align3r.train.run_folder import CHECKPOINTS
from align3r.train.schedule import total_steps
from align3r.train.validation import held_out_frames

_LOOKED_AT = 50
"""Steps of which the batches are counted."""


def describe(options: Options, out: Path) -> str:
    """Data, steps, sizes and what is trained, a line each.

    Weights that are here are loaded, others are not downloaded. Nothing is written, but for
    rendered sequences, which come to be when they are looked at.

    Args:
        options: Without gaps, see `filling.filled`.
        out: Folder of the training.

    Raises:
        UsageError: Options make no sense, or choose nothing.
        InputError: A folder is not there, or holds no such data.
        WeightsError: There is nothing under the name of weights, or what is there is damaged.
    """
    batches = open_data(options)
    rows = [*_networks(options, out), *_data(options, batches), *_course(options, batches, out)]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {text}".rstrip() for name, text in rows)


def _networks(options: Options, out: Path) -> Iterator[tuple[str, str]]:
    weights = base_weights(options)
    yield "starts from", f"{weights}{_where(weights)}"
    yield "trained", _trained(options) if is_cached(weights) else "known when the weights are here"
    if isinstance(options, Fin3rOptions):
        teacher = options.teacher
        yield "teacher", _seen(teacher.model, teacher.weights, labels_folder(options, out))
    if takes_point_maps(options):
        prior = options.prior
        yield "prior", _seen(prior.model, prior.weights, priors_folder(options, out))


def _where(weights: str) -> str:
    if is_cached(weights):
        return ""
    source = resolve(weights)
    published = None if isinstance(source, Path) else source.published
    return ", to be downloaded" + (f": {gigabytes(published.size_bytes)}" if published else "")


def _trained(options: Options) -> str:
    task = task_of(options)
    trained = sum(p.numel() for p in task.trained().values())
    return f"{trained:,} of {sum(p.numel() for p in task.network.parameters()):,} numbers"


def _seen(model: str, weights: str | None, kept: Path) -> str:
    if model == TRUTH:
        return "the true depth of the data"
    return f"{weights or model}{_where(weights or model)}; kept in {kept}"


def _data(options: Options, batches: Batches) -> Iterator[tuple[str, str]]:
    mixture = batches.mixture
    yield "an epoch", f"{mixture.epoch:,} samples"
    for source, count in zip(batches.sources, mixture.samples, strict=True):
        sequences = f"{len(source.names)} {'shards' if source.is_single else 'sequences'}"
        yield "", f"{count:,} of {source.dataset.title}: {sequences} in {source.share.root}"
    counts = [batches.micro_batches(step) for step in range(_LOOKED_AT)]
    spread = sorted({min(counts), max(counts)})
    yield "a step", f"{mixture.effective_batch} samples in {' to '.join(map(str, spread))} batches"
    sizes = ", ".join(f"{width}x{height}" for width, height in mixture.sizes)
    yield "", f"of {sizes}; {', '.join(map(str, mixture.lengths))} views"
    held_out = held_out_frames(options.data)
    each = f"{options.data.validation_samples} images each, every {options.loop.validate_every}"
    yield "held out", f"{', '.join(held_out)}: {each} steps" if held_out else "nothing"


def _course(options: Options, batches: Batches, out: Path) -> Iterator[tuple[str, str]]:
    loop, epoch = options.loop, batches.mixture.epoch
    steps = total_steps(loop, epoch)
    warmup = loop.warmup_epochs * epoch / loop.effective_batch
    epochs = steps * loop.effective_batch / epoch
    yield "steps", f"{steps:,}, which are {epochs:.3g} epochs; the first {warmup:.0f} warm up"
    yield "rate", f"0, {loop.learning_rate:g}, {loop.least_rate:g}"
    device = resolve_device(loop.device)
    numbers = str(resolve_precision(loop.precision, device)).removeprefix("torch.")
    yield "computes", f"on {device.type} in {numbers}"
    done = steps_saved(out / CHECKPOINTS)
    yield "folder", f"{out}" + (f", to go on after step {done[-1]:,}" if done else "")
