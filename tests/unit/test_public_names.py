"""The names a person imports: a list that changes on purpose only."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys

import pytest

import align3r


def test_the_public_names_are_these() -> None:
    assert sorted(align3r.__all__) == [
        "Options",
        "Reconstruction",
        "__version__",
        "compare",
        "load",
        "reconstruct",
        "reconstruct_many",
        "reconstruct_shots",
    ]


@pytest.mark.parametrize("name", sorted(set(align3r.__all__) - {"__version__"}))
def test_names_are_what_their_homes_hold(name: str) -> None:
    home = importlib.import_module(align3r._HOMES[name])
    assert getattr(align3r, name) is getattr(home, name)
    assert getattr(align3r, name).__doc__


def test_the_version_is_a_version() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", align3r.__version__)


def test_other_names_do_not_exist() -> None:
    with pytest.raises(AttributeError, match="no attribute 'reconstrcut'"):
        _ = align3r.reconstrcut


def test_importing_the_package_is_cheap() -> None:
    program = (
        "import sys, align3r\n"
        "heavy = {'torch', 'numpy', 'cv2', 'scipy'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
