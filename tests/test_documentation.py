"""README and docs: every block of Python passes a strict type checker, every block and command does its work."""

from __future__ import annotations

import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from mnist_lightning import RunConfig, errors, report
from mnist_lightning.command import cli

ROOT, SOURCE = (
    Path(__file__).parents[1],
    Path(errors.__file__).parents[1],
)  # a checkout, and what is tested: src, a wheel
PAGES = [path for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))] if path.is_file()]
# a cell of a notebook ends with what it shows
_HEAD = "# pyright: strict, reportUnusedExpression=false\n"
# These say nothing, or not everything, of the types of their own functions
_UNTYPED = ("safetensors", "onnxruntime", "torchvision")
_UNKNOWN = ("MemberType", "VariableType", "ArgumentType", "ParameterType", "LambdaType")
_WITHOUT = ", ".join([f"reportUnknown{what}=false" for what in _UNKNOWN] + ["reportMissingTypeStubs=false"])


class Block(NamedTuple):
    """A block of Python, or a command, and where it stands."""

    page: str
    line: int
    text: str

    @property
    def name(self) -> str:
        return f"{self.page}:{self.line}"

    def put_file(self, root: Path) -> bool:
        """Writes a block that says in its first line which file it is; whether it does."""
        if found := re.match(r"# ([\w/]+\.py)\n", self.text):
            (root / found[1]).parent.mkdir(parents=True, exist_ok=True)
            (root / found[1]).write_text(_HEAD + self.text)
        return found is not None


def python_blocks() -> list[Block]:
    """The blocks of all pages, in their order."""
    found = []
    for page in PAGES:
        text = page.read_text()
        for match in re.finditer(r"^```python\n(.*?)^```$", text, re.S | re.M):
            found.append(Block(page.stem, text.count("\n", 0, match.start()) + 2, match[1]))
    return found


def commands() -> list[Block]:
    """Every command of ours in a block, and those in a sentence that have no placeholder, without its comment."""
    found = []
    for page in PAGES:
        whole = re.sub(r" \\\n *", " ", page.read_text())  # a command of several lines is one
        for number, line in enumerate(whole.splitlines(), 1):
            in_block = re.match(r"(?:    |\$ )(?:.*&& )?((?:python -m mnist_lightning|mnist-lightning)\S* ?.*)", line)
            in_sentence = re.findall(r"`((?:python -m mnist_lightning[\w.]*|mnist-lightning(?:-\w+)?) [^`]+)`", line)
            found += [Block(page.stem, number, text) for text in ([in_block[1]] if in_block else in_sentence)]
    return found


BLOCKS, COMMANDS = python_blocks(), commands()
pytestmark = pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="not a checkout")


def test_blocks_and_commands_are_found() -> None:
    assert {"README", "export", "quickstart", "tutorial"} <= {block.page for block in BLOCKS}
    assert {"README", "quickstart", "tutorial", "predict", "export"} <= {command.page for command in COMMANDS}


def test_every_block_of_python_passes_a_strict_type_checker(tmp_path: Path) -> None:
    pytest.importorskip("pyright")
    for block in BLOCKS:
        imports = re.findall(r"^(?:import|from) (\w+)", block.text, re.M)
        untyped = f"# pyright: {_WITHOUT}\n" if set(imports) & set(_UNTYPED) else ""
        (root := tmp_path / block.page).mkdir(exist_ok=True)
        if not block.put_file(root):
            (root / f"{block.page}_{block.line}.py").write_text(_HEAD + untyped + block.text)
    settings = {"extraPaths": [str(SOURCE)], "pythonVersion": "3.11", "include": ["."]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    environment = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    checked = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable],
        cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    told = json.loads(checked.stdout)
    said = [f"{Path(d['file']).name}: {d['message']}" for d in told["generalDiagnostics"]]
    assert (told["summary"]["filesAnalyzed"], said) == (len(BLOCKS), [])


SMALL = ["trainer.max_epochs=1", "data.train_size=64", "data.test_size=64", "trainer.accelerator=cpu"]


def arguments_of(command: str) -> tuple[list[str], str]:
    """The arguments with which a command is tried here, and why they are not its own; none where it cannot be."""
    words = shlex.split(command, comments=True)
    module, rest = (words[2], words[3:]) if words[0] == "python" else (words[0].replace("-", "_"), words[1:])
    if any(re.fullmatch(r"[A-Z]{3,}(\.\.\.)?", word) for word in rest):
        return [], "a placeholder"
    if module.endswith("serve") or "--watch" in rest:
        return [module, "--help"], "waits for Ctrl-C"
    if module != "mnist_lightning" or {"--help", "--version", "--cfg"} & set(rest) or "experiment=smoke" in rest:
        return [module, *rest], ""
    if "experiment=quickstart" in rest:
        return [module, *rest, *SMALL], "minutes: the same runs, smaller"
    if "hydra/sweeper=optuna" in rest:
        kept = [word for word in rest if not word.startswith("hydra.sweeper.n_trials=")]
        return [module, *kept, "data=synthetic", *SMALL, "hydra.sweeper.n_trials=2"], "hours: two small trials"
    if "data=synthetic" in rest:
        return [module, *rest, *(SMALL[1:3] if "data.train_size=320" not in rest else SMALL[2:3])], "seconds: smaller"
    first = [re.sub(r"^([^,{[(]*=[^,{[(]+),.*", r"\1", word) for word in rest if word != "-m"]
    return [module, *first, "--cfg", "job"], "hours or weeks, downloads, or a cluster: that it is composed"


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What the pages take for there: a run, a sweep, pictures of digits, files for use elsewhere."""
    from PIL import Image

    from mnist_lightning import MNISTDataModule, export, sweep, train

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root := tmp_path_factory.mktemp("stored"))
        patch.setattr(report, "write_report", report.write_tables)
        data = {"name": "synthetic", "train_size": 64, "test_size": 64}
        config = RunConfig(model={"num_channels": 2}, data=data, trainer={"max_epochs": 1, "accelerator": "cpu"})
        train(config, "outputs/mine")
        sweep(config, {"lr": [0.1, 0.01]}, "outputs/quickstart")
        digits = MNISTDataModule("synthetic", test_size=10).dataset.test.images
        Path("photos").mkdir()
        for name in ("digit.png", "seven.png", "3.jpg", "photos/5.jpg"):
            Image.fromarray(digits[0, 0].numpy()).save(name)
        export("outputs/mine", "onnx", ".", preprocess=True)
        export("outputs/mine", "pt2,safetensors", ".")
        yield root


# tests/command/test_components_page.py has more to say of that page, with fewer images and epochs
TOLD = sorted({item.page for item in [*BLOCKS, *COMMANDS]} - {"components"})
# Pages that speak of runs they do not make; the others begin where a reader does, with nothing
_STORED = {"export": ("mine",), "predict": ("mine", "quickstart"), "findings": ()}


@pytest.mark.faults
@pytest.mark.parametrize("page", TOLD)
def test_what_a_page_tells_to_type_does_its_work_from_its_top_to_its_end(
    page: str, stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(stored, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("outputs"))
    for name in _STORED.get(page, ()):
        shutil.copytree(stored / "outputs" / name, tmp_path / "outputs" / name)
    if page == "findings":
        shutil.copytree(ROOT / "outputs" / "reference", tmp_path / "outputs" / "reference")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(report, "write_report", report.write_tables)  # figures take seconds, and have their tests
    items = [item for item in [*BLOCKS, *COMMANDS] if item.page == page]
    for item in sorted(items, key=lambda item: item.line):
        if item in BLOCKS and not item.put_file(tmp_path):
            exec(compile(item.text, item.name, "exec"), {"__name__": "__main__"})
        elif item in COMMANDS and (arguments := arguments_of(item.text)[0]):
            wanted = 4 if "missing.png" in arguments else 0  # the page shows what is said of it
            assert _code(*arguments) == wanted, f"{item.name}: {item.text}\n{capfd.readouterr().err}"


def _code(module: str, *arguments: str) -> int:
    """The exit code of `python -m module arguments`, in this process."""
    if module == "mnist_lightning":
        return cli.main(arguments)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [module, *arguments])
        patch.delitem(sys.modules, f"{module}.__main__", raising=False)  # which runpy would warn of
        try:
            runpy.run_module(module, run_name="__main__")
        except SystemExit as ended:
            return int(ended.code or 0)
    return 0


def test_only_what_has_a_placeholder_is_not_tried_at_all() -> None:
    assert all(arguments_of(text)[0] or re.search(r" (DIR|CKPT|CHECKPOINT|IMAGE)", text) for _, _, text in COMMANDS)
