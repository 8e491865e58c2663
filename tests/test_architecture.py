"""The rules of the house, kept as tests: layers, light imports, the README's map, every file of conf/."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from mnist_lightning import cli, sweep
from mnist_lightning.config import DATASETS, LOSSES, OPTIMIZERS, RunConfig, conf_dir, parse

SOURCE = Path(sweep.__file__).parent
ROOT = SOURCE.parents[1]
LAYERS = [
    {"errors", "section", "config", "results", "locks", "process"},
    {"losses", "metrics", "model", "optimizers", "update_rules", "synthetic", "data", "predictions"},
    {"lightning_modules", "checkpoints", "trainer", "describe", "training", "fused"},
    {"plan", "compositions", "progress", "sweep", "report", "yaml_files"},
    {"cli", "predict", "__main__", "__init__"},
]
# What a layer may not import: the words know no torch, the parts no Lightning, the engines no Hydra
FORBIDDEN = [{"torch", "lightning", "hydra"}, {"lightning", "hydra"}, {"hydra"}, set(), set()]
CHECKOUT = pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="not a checkout")


def files() -> list[tuple[str, Path]]:
    """(module right under the package, file) of every source file."""
    return [(p.relative_to(SOURCE).with_suffix("").parts[0], p) for p in sorted(SOURCE.rglob("*.py"))]


def imports(path: Path) -> set[str]:
    """Every module that a file names in an import anywhere."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
    return names


def layer(module: str) -> int:
    return next(i for i, names in enumerate(LAYERS) if module in names)


@pytest.mark.parametrize(("module", "path"), files(), ids=lambda x: str(x).removeprefix(f"{SOURCE}/"))
def test_imports_run_only_downward(module: str, path: Path) -> None:
    if module == "__init__":  # re-exports lazily from everywhere
        return
    for name in imports(path):
        if name.split(".")[0] in FORBIDDEN[layer(module)]:
            pytest.fail(f"{module} is below {name.split('.')[0]} but imports it")
        if name.startswith("mnist_lightning."):
            assert layer(name.split(".")[1]) <= layer(module), f"{module} imports {name}"


@pytest.mark.parametrize("module", ["report"])
def test_reading_needs_neither_torch_nor_hydra(module: str) -> None:
    paths = [p for m, p in files() if m == module]
    assert not {name.split(".")[0] for p in paths for name in imports(p)} & {"torch", "lightning", "hydra"}


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*{{m.split('.')[0] for m in sys.modules}})"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_importing_the_package_alone_loads_no_torch() -> None:
    assert not loaded_by("import mnist_lightning") & {"torch", "lightning", "hydra", "omegaconf", "pandas", "numpy"}


def test_the_report_loads_no_torch() -> None:
    assert not loaded_by("from mnist_lightning import load_results, write_report") & {"torch", "lightning", "hydra"}


def test_every_public_name_is_there() -> None:
    import mnist_lightning

    assert all(getattr(mnist_lightning, name) is not None for name in mnist_lightning.__all__)
    assert set(mnist_lightning.__all__) <= set(dir(mnist_lightning))
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = mnist_lightning.nonsense


@pytest.fixture(autouse=True, scope="module")
def _registered() -> None:
    cli.register()


def composed(*overrides: str) -> RunConfig:
    GlobalHydra.instance().clear()
    with initialize_config_module("mnist_lightning.conf", version_base="1.3"):
        return parse(compose("config", overrides=list(overrides)))


GROUPS = [
    f"{path.parent.name}={path.stem}" for path in sorted(conf_dir().glob("*/*.yaml")) if path.parent.name != "hydra"
]


def test_no_override_is_the_default_configuration() -> None:
    config = composed()
    assert config.logger == {"_target_": "csv"}
    config.logger = {}
    assert config == RunConfig()


@pytest.mark.parametrize("choice", GROUPS)
def test_every_file_in_conf_composes(choice: str) -> None:
    group, name = choice.split("=")
    config = composed(choice)
    if group in ("optimizer", "data"):
        assert getattr(config, group).name == name


@pytest.mark.parametrize(("group", "names"), [("optimizer", OPTIMIZERS), ("data", DATASETS)])
def test_every_name_has_its_file(group: str, names: tuple[str, ...]) -> None:
    assert {p.stem for p in (conf_dir() / group).glob("*.yaml")} == set(names)


SIZES = {"quickstart": 18, "smoke": 2, "full_grid": 216, "optimizer_lr": 9, "network_size": 12}


def test_every_experiment_has_its_number_of_runs() -> None:
    assert {p.stem for p in (conf_dir() / "experiment").glob("*.yaml")} == set(SIZES)


@pytest.mark.parametrize(("name", "runs"), SIZES.items())
def test_an_experiment_opens_with_its_command_and_has_the_runs_it_says(name: str, runs: int) -> None:
    path = conf_dir() / "experiment" / f"{name}.yaml"
    text = path.read_text()
    assert text.splitlines()[1] == f"# python -m mnist_lightning -m experiment={name}"
    assert re.search(rf"\b{runs} runs\b|\b{runs} architectures\b", text)
    product = 1
    for values in OmegaConf.load(path).hydra.sweeper.params.values():
        product *= len(str(values).split(","))
    assert product == runs


def test_the_full_grid_is_the_reports() -> None:
    params = OmegaConf.load(conf_dir() / "experiment" / "full_grid.yaml").hydra.sweeper.params
    assert params == {
        "optimizer": "adam,sgd,rmsprop",
        "loss": "mse,mae",
        "lr": "0.001,0.01,0.1",
        "model.num_channels": "32,64",
        "model.num_conv": "2,3",
        "model.num_dense": "1,3,5",
    }
    config = composed("experiment=full_grid")
    assert (config.trainer.max_epochs, config.data.batch_size, config.data.name) == (20, 64, "mnist")


@CHECKOUT
def test_the_readmes_map_is_the_tree() -> None:
    text = (ROOT / "README.md").read_text()
    block = re.search(r"```\nsrc/mnist_lightning/\n(.*?)```", text, re.S)
    assert block, "the README has no map"
    named = set(re.findall(r"^  (\w+)(?:\.py|/) ", block[1], re.M))
    there = {module for module, _ in files()}
    assert named == there


@CHECKOUT
def test_the_readme_names_every_experiment_loss_and_optimizer() -> None:
    text = (ROOT / "README.md").read_text()
    assert [w for w in (*SIZES, *LOSSES, *OPTIMIZERS, *DATASETS) if f"`{w}`" not in text] == []


@CHECKOUT
def test_no_source_file_is_longer_than_it_should_be() -> None:
    assert not {p.name: n for _, p in files() if (n := len(p.read_text().splitlines())) > 350}


def test_no_module_hides_the_public_name_that_it_has() -> None:
    """Importing `package.x` makes the module the package's `x`: a function `x` must live elsewhere."""
    import mnist_lightning

    assert not set(mnist_lightning.__all__) & {module for module, _ in files()}
