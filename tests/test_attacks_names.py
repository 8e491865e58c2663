"""Names of classes in a configuration: nothing but a class of the right kind is ever called."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mnist_lightning import RunConfig, train
from mnist_lightning.errors import ConfigError
from mnist_lightning.records.results import RECORD

pytestmark = pytest.mark.faults
Run = Callable[..., tuple[int, str, str]]
Tiny = Callable[..., RunConfig]


TARGETS = """
    os.system os.popen os.execv os.remove os.rename os.mkdir os._exit os.kill posix.system nt.system pty.spawn
    subprocess.Popen subprocess.run subprocess.call subprocess.check_output subprocess.getoutput
    builtins.eval builtins.exec builtins.open builtins.compile builtins.__import__ builtins.getattr builtins.print
    builtins.exit shutil.copyfile shutil.rmtree shutil.move shutil.copytree shutil.make_archive
    importlib.import_module runpy.run_path runpy.run_module pickle.loads pickle.load marshal.loads shelve.open
    ctypes.CDLL socket.socket urllib.request.urlopen urllib.request.urlretrieve webbrowser.open code.interact
    pathlib.Path pathlib.Path.touch tempfile.mkstemp logging.FileHandler zipfile.ZipFile sqlite3.connect
    multiprocessing.Process threading.Thread functools.partial operator.methodcaller types.FunctionType
    torch.load torch.save torch.hub.load torch.nn.Linear torch.optim torch.optim.nope hydra.utils.instantiate
    hydra.utils.call hydra.main numpy.load numpy.save pandas.read_pickle lightning.Trainer lightning.LightningModule
    mnist_lightning.training.run mnist_lightning.command.cli.main mnist_lightning.records.results.save
    system .system ..os.system os..system os. . os:system os/system os.system() __main__ a.b.c
""".split()  # noqa: SIM905 - to be read
ARGUMENTS: dict[str, Callable[[str], dict[str, Any]]] = {
    "os.system": lambda c: {"command": f"touch {c}"},
    "os.popen": lambda c: {"cmd": f"touch {c}"},
    "os.mkdir": lambda c: {"path": c},
    "subprocess.Popen": lambda c: {"args": ["touch", c]},
    "subprocess.getoutput": lambda c: {"cmd": f"touch {c}"},
    "builtins.open": lambda c: {"file": c, "mode": "w"},
    "shutil.copyfile": lambda c: {"src": __file__, "dst": c},
    "importlib.import_module": lambda c: {"name": "canary_module"},
    "runpy.run_module": lambda c: {"mod_name": "canary_module"},
    "logging.FileHandler": lambda c: {"filename": c},
    "zipfile.ZipFile": lambda c: {"file": c, "mode": "w"},
    "sqlite3.connect": lambda c: {"database": c},
    "torch.save": lambda c: {"obj": 1, "f": c},
    "numpy.save": lambda c: {"file": c, "arr": [1]},
}


def spec(target: str, canary: Path) -> dict[str, Any]:
    return {"_target_": target, **ARGUMENTS.get(target, lambda c: {})(str(canary))}


NAMED: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "callbacks": lambda s: {"callbacks": [s]},
    "logger": lambda s: {"logger": s},
    "optimizer": lambda s: {"optimizer.name": s.pop("_target_"), "optimizer.options": s},
    "trainer.profiler": lambda s: {"trainer.profiler": s},
    "trainer.plugins": lambda s: {"trainer.plugins": [s]},
    "trainer.strategy": lambda s: {"trainer.strategy": s},
}


@pytest.mark.parametrize("place", NAMED)
def test_nothing_but_a_class_of_the_right_kind_is_ever_called(
    place: str, tiny: Tiny, tmp_path: Path, canary: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert len(TARGETS) >= 60
    for target in TARGETS:
        try:
            train(tiny(**NAMED[place](spec(target, canary))), tmp_path / "run")
        except ConfigError as error:
            assert place in str(error), target
        else:
            pytest.fail(f"{target} was accepted")
        assert not canary.exists(), target
    assert not (tmp_path / "run").exists()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "override",
    [
        "callbacks=[{_target_:os.system,command:'touch canary'}]",
        "logger._target_=os.system",
        "optimizer=os.system",
        "optimizer=.system",
        "optimizer=quits.Adam",
        "optimizer=raises.Adam",
        "callbacks=[{_target_:quits.Stop}]",
        "callbacks=[{_target_:raises.Stop}]",
        "+model._target_=os.system",
        "++_target_=os.system",
        "+optimizer._target_=os.system",
        "trainer.plugins=[{_target_:os.system,command:'touch canary'}]",
    ],
)
@pytest.mark.parametrize("flag", [[], ["-m"]], ids=["a run", "a sweep"])
def test_on_the_command_line_such_a_name_is_bad_input(
    override: str, flag: list[str], run: Run, canary: Path, tmp_path: Path, tiny_arguments: list[str]
) -> None:
    (tmp_path / "modules" / "quits.py").write_text("raise SystemExit(0)")
    (tmp_path / "modules" / "raises.py").write_text("raise RuntimeError('no')")
    code, out, err = run(*flag, *tiny_arguments, override)
    assert (code, out) == (2, "")
    assert err.startswith("mnist-lightning: error: ")
    assert err.count("\n") == 1
    assert not list(tmp_path.rglob(RECORD))
