"""Runs of one source that differ in later stages share their earlier ones."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from align3r.config import AlignOptions, NetworkOptions, Options, OutputOptions, PriorOptions
from align3r.io.cache import StageCache, cache_folder, fingerprint
from align3r.io.sources import Source
from align3r.pairwise.registry import MODELS

MONO = "monocular depth"
PAIRS = "predict pairs"
"""The stages that can be shared, as the timings call them."""


@dataclass(frozen=True)
class SharedStages:
    """Where monocular depth and pairs are kept for several runs, each by what it depends on."""

    folder: Path
    """Whoever makes the runs removes it after the last."""
    flow: bool = True
    """Whether some run reads the flow of pairs: then it is there for all of them."""

    def pairs_options(self, options: Options) -> Options:
        """What pairs depend on; all else has its default value.

        Args:
            options: With the model chosen.
        """
        # Only a model that was trained with monocular depth looks at it.
        prior = PriorOptions() if MODELS[options.model].prior is None else options.prior
        align = AlignOptions(flow_weight=float(self.flow))
        return replace(options, align=align, prior=prior, output=OutputOptions())

    def mono_options(self, options: Options) -> Options:
        """What monocular depth depends on; all else has its default value.

        Args:
            options: With the model chosen.
        """
        return Options(
            model=options.model,
            device=options.device,
            seed=options.seed,
            input=options.input,
            camera=options.camera,  # Its lens is undone in what the depth network sees.
            network=NetworkOptions(precision=options.network.precision),
            prior=options.prior,
        )

    def names(self, source: Source, options: Options) -> dict[str, str]:
        """The folders of a run, by the stage as its timings call it.

        Args:
            source: What all runs are about.
            options: With the model chosen.

        Raises:
            InputError: The source cannot be read.
        """
        return {
            stage: f"{stage.replace(' ', '-')}-{fingerprint(source, seen)[:16]}"
            for stage, seen in self._stages(options)
        }

    def keep_only(self, names: set[str]) -> None:
        """Remove the folders of all stages but these."""
        for folder in self.folder.glob("*"):
            if folder.name not in names:
                shutil.rmtree(folder)

    def caches(self, source: Source, options: Options) -> dict[str, StageCache]:
        """The stage caches of a run, by the stage.

        Raises:
            InputError: The source cannot be read.
        """
        return {
            stage: StageCache(self.folder / name, name)
            for stage, name in self.names(source, options).items()
        }

    def pairs_folder(self, source: Source, options: Options) -> Path:
        """Where the pairs of a run are kept.

        Raises:
            InputError: The source cannot be read.
        """
        return self.folder / self.names(source, options)[PAIRS]

    def _stages(self, options: Options) -> list[tuple[str, Options]]:
        return [(MONO, self.mono_options(options)), (PAIRS, self.pairs_options(options))]


@dataclass(frozen=True)
class Caches:
    """The stage caches of one run; None where nothing is kept."""

    own: StageCache | None
    """Of this run alone; the caller clears it when the result is whole."""
    mono: StageCache | None
    pairs: StageCache | None


def open_caches(
    source: Source, out: Path | None, options: Options, *, shared: SharedStages | None
) -> Caches:
    """The caches of a run: one of its own, and two that it shares, if it shares any.

    Raises:
        InputError: The source cannot be read.
    """
    own = None
    if out is not None:
        own = StageCache(cache_folder(out), fingerprint(source, options))
    if shared is None:
        return Caches(own, own, own)
    kept = shared.caches(source, options)
    return Caches(own, kept[MONO], kept[PAIRS])
