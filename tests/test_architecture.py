"""The rules of the house, kept as tests: layers, light imports, the README's map, every file of conf/."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from mnist_lightning import errors
from mnist_lightning.command import cli
from mnist_lightning.config import DATASETS, LOSSES, OPTIMIZERS, RunConfig, conf_dir, parse

SOURCE = Path(errors.__file__).parent
ROOT = SOURCE.parents[1]
# A folder imports from the folders below it in this list. The README's map is this list, in this order.
ROOMS = [
    "command",
    "serve",
    "predict",
    "export",
    "sweep",
    "fused",
    "training",
    "report",
    "progress",
    "data",
    "numerics",
    "records",
    "config",
    "errors",
]
# Packages that a room may not import: nothing below training knows Lightning, what reads records knows no torch
_ENGINES = {"torch", "torchvision", "lightning", "torchmetrics"}
FORBIDDEN = {
    "serve": {"hydra", "lightning"},
    "predict": {"hydra", "lightning"},
    "export": {"hydra", "lightning"},
    "fused": {"hydra"},
    "training": {"hydra"},
    "report": {"hydra", *_ENGINES},
    "progress": {"hydra", *_ENGINES},
    "data": {"hydra", "lightning", "torchmetrics"},
    "numerics": {"hydra", "lightning", "torchmetrics", "torchvision"},
    "records": {"hydra", *_ENGINES},
    "config": {"hydra", *_ENGINES},
    "errors": {"hydra", *_ENGINES},
}
CHECKOUT = pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="not a checkout")


def files() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def room(module: str) -> str:
    """`mnist_lightning.sweep.plan` -> `sweep`."""
    return module.split(".")[1]


def module_of(path: Path) -> str:
    """The dotted name of a source file."""
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> set[str]:
    """Every module that a file names in an import anywhere."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
    return names


def upward(module: str, imported: set[str]) -> set[str]:
    """Those of the imported names that stand above the module's room, or are forbidden to it."""
    own = room(module)
    allowed = set(ROOMS[ROOMS.index(own) :])
    ours = {name for name in imported if name.startswith("mnist_lightning.") and room(name) not in allowed}
    return ours | {name for name in imported if name.split(".")[0] in FORBIDDEN.get(own, set())}


@pytest.mark.parametrize("path", [p for p in files() if p.parent != SOURCE or p.name == "errors.py"], ids=module_of)
def test_a_folder_imports_only_from_the_folders_below_it(path: Path) -> None:
    assert upward(module_of(path), imports(path)) == set()


def test_the_rule_fails_when_an_import_is_turned_round() -> None:
    assert upward("mnist_lightning.sweep.plan", {"mnist_lightning.records.results"}) == set()
    assert upward("mnist_lightning.records.results", {"mnist_lightning.sweep.plan"}) == {"mnist_lightning.sweep.plan"}
    assert upward("mnist_lightning.numerics.model", {"lightning.pytorch"}) == {"lightning.pytorch"}


def test_no_imports_run_in_a_circle() -> None:
    modules = {module_of(path): path for path in files() if path.name != "__init__.py"}  # those only pass names on
    graph = {module: {n for n in imports(path) if n in modules} - {module} for module, path in modules.items()}
    assert list(TopologicalSorter(graph).static_order())  # raises CycleError naming the circle


def test_every_folder_is_a_room_and_every_room_is_there() -> None:
    there = {p.name.removesuffix(".py") for p in SOURCE.iterdir() if p.suffix == ".py" or (p / "__init__.py").is_file()}
    assert there - {"__init__", "__main__"} == set(ROOMS)


@CHECKOUT
def test_tests_lie_in_folders_of_the_same_names() -> None:
    assert {p.name for p in (ROOT / "tests").iterdir() if list(p.glob("test_*.py"))} <= set(ROOMS)


def public_members() -> Iterator[tuple[str, Any]]:
    """(dotted name, object) of every public function, class and method that is defined in the source."""
    for path in files():
        if path.name in ("__init__.py", "__main__.py") or ("triton" in imports(path) and not find_spec("triton")):
            continue
        module = importlib.import_module(module_of(path))
        own = {k: v for k, v in vars(module).items() if getattr(v, "__module__", "") == module.__name__}
        for name, thing in own.items():
            if name.startswith("_") or not (inspect.isclass(thing) or callable(thing)):
                continue
            yield f"{module.__name__}.{name}", inspect.unwrap(thing) if not inspect.isclass(thing) else thing
            for method in vars(thing) if inspect.isclass(thing) else ():
                if not method.startswith("_") and inspect.isroutine(getattr(thing, method)):
                    yield f"{module.__name__}.{name}.{method}", getattr(thing, method)


def test_every_public_function_class_and_method_has_a_docstring() -> None:
    """A method may have that of the one it overrides, of Lightning's, say."""
    assert [name for name, thing in public_members() if not inspect.getdoc(thing)] == []


@pytest.mark.parametrize("house", ["data", "numerics", "fused"])
def test_a_public_function_of_tensors_names_their_shapes(house: str) -> None:
    shape = re.compile(r"\[(\.\.\.|\d+|[a-zA-Z_]+'?)(, ?(\.\.\.|\d+|[a-zA-Z_]+'?))*\]|\[\]")  # [N, 10], [...], []
    unnamed = [
        name
        for name, thing in public_members()
        if room(name) == house and not inspect.isclass(thing)
        if "Tensor" in str(getattr(thing, "__annotations__", "")) and not shape.search(inspect.getdoc(thing) or "")
    ]
    assert unnamed == []


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


SIZES = {
    "findings": 54,
    "findings_full_size": 54,
    "quickstart": 18,
    "smoke": 2,
    "full_grid": 216,
    "optimizer_lr": 9,
    "network_size": 12,
}


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
    named = re.findall(r"^  (\w+)(?:\.py|/) ", block[1], re.M)
    assert named == ["__init__", "__main__", *ROOMS]


@CHECKOUT
def test_the_readme_names_every_experiment_loss_and_optimizer() -> None:
    text = (ROOT / "README.md").read_text()
    assert [w for w in (*SIZES, *LOSSES, *OPTIMIZERS, *DATASETS) if f"`{w}`" not in text] == []


@CHECKOUT
def test_no_source_file_is_longer_than_it_should_be() -> None:
    assert not {p.name: n for p in files() if (n := len(p.read_text().splitlines())) > 350}


@pytest.mark.parametrize("first", ["import mnist_lightning.{0}.{1}", "from mnist_lightning import {0}"])
def test_a_folder_with_a_functions_name_is_that_function_when_called_whichever_was_imported_first(first: str) -> None:
    """Importing `package.x` makes the module the package's `x`; Hydra looks for `package.x.y` through it."""
    import mnist_lightning

    for name in set(mnist_lightning.__all__) & set(ROOMS):
        (home,) = {p.stem for p in (SOURCE / name).glob("*.py") if f"\ndef {name}(" in p.read_text()}
        code = f"{first.format(name, home)}; import inspect, mnist_lightning.{name}.{home} as home, mnist_lightning\n"
        code += f"from mnist_lightning import {name} as found\nassert callable(found), found\n"
        code += f"assert inspect.signature(found) == inspect.signature(home.{name})\n"
        code += (
            "try: found(nonsense=1)\nexcept (TypeError, ValueError) as error: assert 'nonsense' in str(error), error\n"
        )
        code += f"assert home.{name}.__doc__ in found.__doc__ and '{name}(' in found.__doc__\n"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def source_of(*words: str) -> set[str]:
    """The files of src in which one of the words stands."""
    paths = [*SOURCE.rglob("*.py"), *(SOURCE.parent / "hydra_plugins").glob("*.py")]
    return {p.name for p in paths if any(word in p.read_text() for word in words)}


def test_one_file_knows_hydras_internals_and_none_patches_with_unittest() -> None:
    assert source_of("hydra._internal") == {"hydra_internals.py"}
    assert source_of("unittest") == set()


def test_the_report_groups_by_pandas() -> None:
    assert any("pandas" in imports(path) for path in (SOURCE / "report").glob("*.py"))


_MUTATORS = {
    "append",
    "add",
    "update",
    "pop",
    "popitem",
    "setdefault",
    "clear",
    "extend",
    "insert",
    "remove",
    "discard",
}


def module_state(source: str) -> set[str]:
    """Names of a module, or of modules it imports, that its functions change."""
    tree = ast.parse(source)
    functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.Lambda))]
    inside = [node for function in functions for node in ast.walk(function)]
    local = {n.id for n in inside if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    local |= {n.arg for n in inside if isinstance(n, ast.arg)}
    local |= {n.name for n in inside if isinstance(n, ast.ExceptHandler) and n.name}
    changed = {name for n in inside if isinstance(n, ast.Global) for name in n.names}
    for node in inside:
        owner = None
        if isinstance(node, (ast.Subscript, ast.Attribute)) and isinstance(node.ctx, (ast.Store, ast.Del)):
            owner = node.value  # x[...] = ..., module.x = ...
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _MUTATORS:
            owner = node.func.value  # x.append(...)
        if isinstance(owner, ast.Name) and owner.id not in local:
            changed.add(owner.id)
    return changed


# Python's own hooks and settings, which a command owns for its process and puts back
HOOKS = {"sys", "warnings"}


@pytest.mark.parametrize("path", files(), ids=module_of)
def test_no_function_changes_the_state_of_a_module(path: Path) -> None:
    assert module_state(path.read_text()) - HOOKS == set()


def test_the_rule_about_state_sees_each_way_to_break_it() -> None:
    assert module_state("x = {}\ndef f():\n    x[1] = 2") == {"x"}
    assert module_state("x = []\ndef f():\n    x.append(2)") == {"x"}
    assert module_state("from a import b\ndef f():\n    b.began = True") == {"b"}
    assert module_state("x = 1\ndef f():\n    global x\n    x = 2") == {"x"}
    assert module_state("def f():\n    x = []\n    x.append(2)") == set()


def lengths() -> list[int]:
    """Lines of every function of src, from `def` to its end."""
    trees = [ast.parse(path.read_text()) for path in files()]
    functions = [n for tree in trees for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]
    return [(f.end_lineno or f.lineno) - f.lineno + 1 for f in functions]


def test_functions_are_short() -> None:
    assert median(lengths()) <= 8
    assert max(lengths()) <= 47
