"""The commands and code of docs/components.md, run as they stand, with fewer images and epochs."""

from __future__ import annotations

import re
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import mnist_lightning
from mnist_lightning.export.__main__ import main as export_main

PAGE = Path(__file__).parents[2] / "docs" / "components.md"
SMALL = ["data.train_size=320", "data.test_size=100", "trainer.max_epochs=2", "trainer.accelerator=cpu"]
pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="not a checkout")


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """The page's modules are no other test's."""
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_project"]:
        del sys.modules[name]


def test_the_page_of_components_does_what_it_says(
    run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    blocks = re.findall(r"(?s)```python\n(.*?)```", PAGE.read_text())
    commands = [line.split()[3:] for line in re.findall(r"(?m)^\$ (.*)$", PAGE.read_text())]
    module = tmp_path / blocks[0].splitlines()[0].removeprefix("# ")
    module.parent.mkdir()
    module.write_text(blocks[0])
    monkeypatch.syspath_prepend(tmp_path)

    code, out, err = run(*commands[0], *SMALL)
    assert (code, err) == (0, ""), out + err
    assert commands[1][0] == "outputs/own"
    assert export_main(commands[1]) == 0
    assert "probabilities differ by at most" in capfd.readouterr().out

    trained: list[mnist_lightning.RunConfig] = []
    whole = mnist_lightning.train

    def small(config: mnist_lightning.RunConfig, directory: str, data: str) -> mnist_lightning.RunResult:
        trained.append(config)
        sizes = {"name": data, "train_size": 320, "test_size": 100}
        return whole(config, directory, data=sizes, trainer={"max_epochs": 2, "accelerator": "cpu"})

    monkeypatch.setattr(mnist_lightning, "train", small)
    script = tmp_path / "script.py"
    script.write_text("\n".join(blocks[1:]))
    runpy.run_path(str(script))
    printed = capfd.readouterr().out
    assert "my_project.nets.Net(width=8)" in printed
    assert printed.endswith("[]\n")
    assert trained[0].identity()["model"] == {"_target_": "my_project.nets.Net", "width": 8}
