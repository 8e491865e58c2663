"""The command that made a sweep, or a single run, from what Hydra has stored of it."""

from __future__ import annotations

from typing import Any

import yaml

from mnist_lightning.errors import shell_line

OF_SWEEP, OF_RUN = "multirun.yaml", ".hydra/hydra.yaml"  # where Hydra stores it
_SWEEP, _RUN = "hydra.mode=MULTIRUN", "hydra.mode=RUN"
LONGEST_COMMAND = 10_000  # a cell of a workbook holds three times as much
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def command_in(text: str, *, of_run: bool = False) -> str:
    """The command, as a shell reads it, in the text of such a file; empty where there is none, or a book of it.

    With launcher, sweeper and directory where they were given. It is one printable line, whatever was in the text.
    """
    try:
        hydra = yaml.load(text, Loader=_LOADER)["hydra"]
        overrides = [*hydra["overrides"]["task"], *hydra["overrides"]["hydra"]]
        if not overrides or not all(isinstance(override, str) for override in overrides):
            return ""
        modes = [mode for o in overrides if (mode := o.lstrip("+")) in (_RUN, _SWEEP)]
        if of_run and modes != [_RUN]:  # one of a sweep's: that was another command
            return ""
        words = [*_files(hydra), *(o for o in overrides if o.lstrip("+") not in modes)]
        line = shell_line(["python", "-m", "mnist_lightning", *([] if of_run else ["-m"]), *words])
    except (yaml.YAMLError, LookupError, TypeError, ValueError, AttributeError, RecursionError):
        return ""  # somebody else's file, or damaged
    return line if len(line) <= LONGEST_COMMAND else ""


def _files(hydra: dict[str, Any]) -> list[str]:
    """Which configuration files were the user's: `--config-dir` and `-cn`, where they were given."""
    directories = [s["path"] for s in hydra["runtime"]["config_sources"] if s["provider"] == "command-line"]
    name = hydra["job"]["config_name"]
    words = [word for path in directories for word in ("--config-dir", str(path))]
    return [*words, *([] if name == "config" else ["-cn", str(name)])]
