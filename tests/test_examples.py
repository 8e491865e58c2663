"""The examples are run as a user would, each in a directory of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mnist_lightning import errors, load_results

EXAMPLES = Path(__file__).parents[1] / "examples"
SOURCE = str(Path(errors.__file__).parents[1])  # what is tested: src, or where a wheel is installed
pytestmark = [pytest.mark.faults, pytest.mark.skipif(not EXAMPLES.is_dir(), reason="a checkout has examples/")]


def run(cwd: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": SOURCE}
    done = subprocess.run([sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_grid_from_python_without_hydra(tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "without_hydra.py", tmp_path)
    said = run(tmp_path, "without_hydra.py")
    assert len(load_results(tmp_path / "outputs" / "nine")) == 9
    assert "the first five digits: [" in said


def test_another_project_has_its_own_network_optimizer_data_and_experiment(tmp_path: Path) -> None:
    project = shutil.copytree(EXAMPLES / "other_project", tmp_path / "project")
    run(project, "-m", "mnist_lightning", "hydra.searchpath=[file://conf]", "-m", "experiment=wide")
    results = load_results(project / "outputs" / "wide")
    assert {(r.optimizer, r.network, r.dataset) for r in results} == {
        ("SignSGD", f"my_project.nets.Wide(width={width})", "my_project.data.bars(noise=0.3)") for width in (16, 32)
    }
    assert max(r.accuracy_test for r in results) > 0.9
    run(project, "train_one.py")
    (one,) = load_results(project / "outputs" / "one")
    assert one.fingerprint in {r.fingerprint for r in results}, "Python and YAML mean the same"


def test_a_notebook_runs_a_sweep_and_shows_its_frame_and_a_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbformat = pytest.importorskip("nbformat", reason="pip install nbclient ipykernel")
    nbclient = pytest.importorskip("nbclient", reason="pip install nbclient ipykernel")
    monkeypatch.setenv("PYTHONPATH", SOURCE)
    notebook = nbformat.read(EXAMPLES / "notebook.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = {kind for cell in notebook.cells for out in cell.get("outputs", []) for kind in out.get("data", {})}
    assert {"text/html", "image/png"} <= shown
    assert (tmp_path / "outputs" / "notebook" / "report.html").is_file()


def test_the_examples_pass_a_strict_type_checker(tmp_path: Path) -> None:
    python = "\n\n".join(
        "".join(cell["source"])
        for cell in json.loads((EXAMPLES / "notebook.ipynb").read_text())["cells"]
        if cell["cell_type"] == "code"
    )
    shutil.copytree(EXAMPLES / "other_project", tmp_path, dirs_exist_ok=True)
    shutil.copy(EXAMPLES / "without_hydra.py", tmp_path)
    (tmp_path / "notebook.py").write_text("# pyright: reportUnusedExpression=false\n" + python)
    settings = {"typeCheckingMode": "strict", "extraPaths": [SOURCE], "reportMissingTypeStubs": False}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    done = subprocess.run([sys.executable, "-m", "pyright", "-p", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
