"""The table of published weights: every network that has a name has weights in it."""

from __future__ import annotations

from align3r.config import ModelName, PriorName
from align3r.models.catalogue import CATALOGUE


def test_every_model_and_prior_has_its_weights() -> None:
    own = {"auto", "none", "geometric"}
    pairs = set(ModelName.__args__) - own  # type: ignore[attr-defined]
    priors = set(PriorName.__args__) - own  # type: ignore[attr-defined]
    assert {name for name, known in CATALOGUE.items() if known.kind == "pair"} == pairs
    assert {name for name, known in CATALOGUE.items() if known.kind == "depth"} == priors


def test_the_catalogue_is_whole() -> None:
    assert len({known.repo for known in CATALOGUE.values()}) == len(CATALOGUE)
    for known in CATALOGUE.values():
        assert known.repo.count("/") == 1 and known.licence and known.purpose
        # Two or four bytes a parameter.
        assert 1.9 < known.size_bytes / known.parameters < 4.1
