"""The notebook runs from top to bottom, shows what it says, and is kept without outputs."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from test_docs_lessons import school

pytest.importorskip("nbclient", reason="running a notebook needs nbclient")
pytest.importorskip("ipykernel", reason="running a notebook needs ipykernel")
pytest.importorskip("matplotlib", reason="the notebook draws with matplotlib")

NOTEBOOK = Path(__file__).resolve().parents[1] / "examples" / "first_video.ipynb"
__all__ = ["school"]


def test_it_is_kept_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not cell.get("outputs") and cell.get("execution_count") is None


def test_it_runs_and_shows(school: Path) -> None:
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(school / "examples")}},
    ).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 2
    text = "".join(output.get("text", "") for output in outputs)
    assert "12 frames of 192x144" in text
    for name in ("scene.glb", "points.ply", "trajectory.txt"):
        path = school / "examples" / "out" / "notebook_exports" / name
        assert path.stat().st_size > 500 and str(path.name) in text
