"""The wheel: conf/ inside, found from anywhere, by another project too; the dependencies' floors."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content as a directory, made without a network."""
    pytest.importorskip("hatchling", reason="hatchling builds the wheel: pip install -e '.[dev]'")
    target = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = target.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target / "site")
    return target / "site"


def python(installed: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python with the wheel's content before everything else, away from the checkout."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    return subprocess.run([sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True)


def test_the_wheel_carries_conf_and_the_plugin_and_nothing_else(installed: Path) -> None:
    top = {p.name for p in installed.iterdir() if not p.name.endswith(".dist-info")}
    assert top == {"mnist_lightning", "hydra_plugins"}
    ours = {p.relative_to(ROOT / "conf") for p in (ROOT / "conf").rglob("*.yaml")}
    assert {p.relative_to(installed / "mnist_lightning/conf") for p in installed.rglob("conf/**/*.yaml")} == ours
    assert (installed / "mnist_lightning" / "py.typed").is_file()


def test_the_command_finds_conf_in_the_wheel_from_any_directory(installed: Path, tmp_path: Path) -> None:
    done = python(installed, tmp_path, "-m", "mnist_lightning", "--cfg", "job", "experiment=quickstart")
    assert done.returncode == 0, done.stderr
    assert "name: synthetic" in done.stdout
    where = python(installed, tmp_path, "-c", "from mnist_lightning.config import conf_dir; print(conf_dir())").stdout
    assert where.strip() == str(installed / "mnist_lightning" / "conf")


def test_a_grid_runs_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    done = python(installed, tmp_path, "-m", "mnist_lightning", "-m", "experiment=smoke")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "outputs" / "smoke" / "results.xlsx").is_file()


OTHER = """
import hydra
@hydra.main(version_base="1.3", config_path=".", config_name="theirs")
def main(cfg):
    print(cfg.optimizer.name, cfg.data.name, cfg.model.num_channels)
main()
"""


@pytest.mark.parametrize("from_wheel", [True, False], ids=["wheel", "checkout"])
def test_another_project_finds_conf_through_its_searchpath(from_wheel: bool, installed: Path, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(OTHER)
    theirs = "defaults: [optimizer: adamax, data: kmnist, experiment: null, _self_]\nmodel: {num_channels: 1}\n"
    theirs += "hydra: {searchpath: ['pkg://mnist_lightning.conf']}\n"
    (tmp_path / "theirs.yaml").write_text(theirs)
    done = python(installed if from_wheel else ROOT / "src", tmp_path, "app.py", "optimizer=nadam")
    assert done.stdout.split() == ["nadam", "kmnist", "1"], done.stderr


def test_the_source_tree_runs_without_being_installed(tmp_path: Path) -> None:
    done = python(ROOT / "src", tmp_path, "-m", "mnist_lightning", "--cfg", "job")
    assert done.returncode == 0, done.stderr


def dependencies() -> dict[str, str]:
    """{name of a distribution in lower case: the range of versions in pyproject.toml}."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {name.lower(): f">={bounds}" for name, _, bounds in (d.partition(">=") for d in project["dependencies"])}


def extras() -> set[str]:
    """The distributions that the extras for users bring, in lower case."""
    optional = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    users = {name: wanted for name, wanted in optional.items() if name not in ("dev", "docs", "mutation")}
    return {re.split("[<>=]", d)[0].lower() for wanted in users.values() for d in wanted}


def imported_packages(source: Path) -> set[str]:
    """The top-level names of other people's packages that a file imports anywhere."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - {"mnist_lightning", "hydra_plugins"}


def test_every_package_that_the_source_imports_is_declared() -> None:
    homes = importlib.metadata.packages_distributions()
    imported = {name for path in (ROOT / "src").rglob("*.py") for name in imported_packages(path)}
    declared = set(dependencies()) | extras() | {"triton"}  # comes with torch for GPUs, is used only there
    undeclared = {name for name in imported if not {d.lower() for d in homes.get(name, [name])} & declared}
    assert undeclared == set()


def test_every_dependency_and_all_that_an_extra_brings_has_a_floor_which_the_floors_job_installs() -> None:
    script = ROOT / ".ci" / "floors"
    if not script.is_file():
        pytest.skip("a checkout has .ci/")
    said = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True).stdout
    pinned = dict(line.lower().split("==") for line in said.splitlines())
    assert set(pinned) == set(dependencies()) | extras()
    assert [version for version in pinned.values() if not re.fullmatch(r"\d+(\.\d+)*", version)] == []


def test_dependencies_are_the_agreed_ones_above_the_floors_without_a_known_fault() -> None:
    assert set(dependencies()) == {
        "torch",
        "torchvision",
        "lightning",
        "torchmetrics",
        "tqdm",
        "hydra-core",
        "omegaconf",
        "pyyaml",
        "numpy",
        "pandas",
        "openpyxl",
        "matplotlib",
        "pillow",
        "jinja2",
        "markupsafe",
    }
    floors = {"torch": ">=2.10", "lightning": ">=2.6.4", "hydra-core": ">=1.3.6,<1.5"}
    assert floors.items() <= dependencies().items()


def test_each_command_is_a_console_script_too() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    commands = {p.parent.name for p in (ROOT / "src" / "mnist_lightning").glob("*/__main__.py")}
    wanted = {f"mnist-lightning-{name}": f"mnist_lightning.{name}.__main__:main" for name in commands}
    assert scripts == {"mnist-lightning": "mnist_lightning.__main__:main", **wanted}


@pytest.mark.parametrize("name", ["export", "predict", "report"])
def test_a_console_script_explains_itself_and_ends_with_the_commands_exit_code(name: str, tmp_path: Path) -> None:
    """As the program that pip makes of an entry point calls it."""
    calls = f"import sys; from mnist_lightning.{name}.__main__ import main; sys.exit(main())"
    helped = python(ROOT / "src", tmp_path, "-c", calls, "--help")
    assert helped.returncode == 0, helped.stderr
    assert helped.stdout.startswith(f"usage: python -m mnist_lightning.{name} ")
    wrong = python(ROOT / "src", tmp_path, "-c", calls)
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert wrong.stderr.startswith("mnist-lightning: error: the following arguments are required: ")
