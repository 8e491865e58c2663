"""The user's own YAML files, judged before Hydra reads them: none may fill the memory, what is wrong is one line."""

from __future__ import annotations

from pathlib import Path

import yaml

from mnist_lightning.errors import ConfigError

LARGEST_FILE = 2**20
MOST_VALUES = 10_000  # after aliases are written out, which OmegaConf does; nine lines can ask for 10^9
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def check_file(path: Path) -> None:
    """Raises ConfigError naming the file, and the line, for what cannot be read or would be too much."""
    if not path.is_file():  # Hydra says so, with the choices there are
        return
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ConfigError(f"{path}: {path.stat().st_size:,} bytes, too large; give it less than {LARGEST_FILE:,}")
        with open(path, encoding="utf-8") as file:
            root = yaml.compose(file, Loader=_LOADER)
        if root is not None and _count(root, {}) > MOST_VALUES:
            raise ConfigError(f"{path}: more than {MOST_VALUES:,} values with its aliases; leave some out")
    except yaml.YAMLError as error:
        raise ConfigError(explained(error, str(path))) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8; save it as UTF-8") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: nested too deeply; flatten it") from error


def explained(error: yaml.YAMLError, path: str = "a YAML file") -> str:
    """`conf/x.yaml:3: found duplicate key lr; mend the file`."""
    mark = getattr(error, "problem_mark", None)
    where = f"{mark.name}:{mark.line + 1}" if mark is not None else path
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "not YAML"
    return f"{where}: {problem}; mend the file"


def _count(node: yaml.Node, known: dict[yaml.Node, int]) -> int:
    """The values below a node, as many times as they are named."""
    if node not in known:
        known[node] = MOST_VALUES + 1  # what contains itself never ends
        children = node.value if isinstance(node.value, list) else []
        inner = [part for child in children for part in (child if isinstance(child, tuple) else (child,))]
        known[node] = 1 + sum(_count(part, known) for part in inner)
    return known[node]
