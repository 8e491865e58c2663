"""The user's own YAML files, which Hydra reads: none may fill the memory, and what is wrong is said in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from mnist_lightning.errors import ConfigError

LARGEST_FILE = 2**20
MOST_ALIASES = 20  # OmegaConf copies what each stands for: in nine lines, 90 of one another make 10^9 values
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@contextmanager
def refused_in_one_line(path: Path) -> Iterator[None]:
    """Raises ConfigError, naming file and line, for a file that is too large or that the block cannot read."""
    try:
        if path.is_file():  # otherwise Hydra says so, with the choices there are
            _check_size(path)
        yield
    except yaml.YAMLError as error:
        raise ConfigError(explained(error, str(path))) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8; save it as UTF-8") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: nested too deeply, or within itself; flatten it") from error


def _check_size(path: Path) -> None:
    if path.stat().st_size > LARGEST_FILE:
        raise ConfigError(f"{path}: {path.stat().st_size:,} bytes, too large; give it less than {LARGEST_FILE:,}")
    with open(path, encoding="utf-8") as file:
        aliases = sum(isinstance(event, yaml.AliasEvent) for event in yaml.parse(file, Loader=_LOADER))
    if aliases > MOST_ALIASES:
        raise ConfigError(f"{path}: {aliases} aliases, more than {MOST_ALIASES}; write some out")


def explained(error: yaml.YAMLError, path: str = "a YAML file") -> str:
    """The one line for a YAML error: `conf/x.yaml:3: found duplicate key lr; mend the file`."""
    mark = getattr(error, "problem_mark", None)
    where = f"{mark.name}:{mark.line + 1}" if mark is not None else path
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "not YAML"
    return f"{where}: {problem}; mend the file"
