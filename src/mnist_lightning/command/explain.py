"""Errors explained: the exit code, and one line that says what is wrong and the way out.

`EXPLAINERS` are asked in their order; the first that knows whose error it is answers.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from mnist_lightning.command import yaml_files
from mnist_lightning.config import suggest_key, wrong_type
from mnist_lightning.config.section import near_miss
from mnist_lightning.errors import EXIT_BAD_INPUT, EXIT_BUG, EXIT_OUTPUT, EXIT_RUNS_MISSING, UserError

Error = TypeVar("Error", bound=BaseException)
Explanation = tuple[int, str] | None


@dataclass(frozen=True)
class Failure:
    """What ended a command: the error, the command's arguments, and whether a sweep or a run had begun."""

    error: BaseException
    arguments: Sequence[str] = ()
    began: bool = False

    @cached_property
    def chain(self) -> list[BaseException]:
        """The error, what it was raised from, and so on."""
        chain = [self.error]
        while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
            chain.append(cause)
        return chain

    def of(self, kind: type[Error]) -> Error | None:
        """The first error of a kind in the chain."""
        return next((link for link in self.chain if isinstance(link, kind)), None)


def explain(failure: Failure) -> tuple[int, str]:
    """The exit code and the one line for anything that ended a command; never raises."""
    try:
        for explainer in EXPLAINERS:
            if (explanation := explainer(failure)) is not None:
                return explanation
        return _bug(failure.error)
    except Exception as second:
        return _bug(second)


def _bug(error: BaseException) -> tuple[int, str]:
    return EXIT_BUG, f"{type(error).__name__}: {error}; a bug: please report it with the output of -v"


def _ours(failure: Failure) -> Explanation:
    """Errors that were made for the user."""
    error = failure.of(UserError)
    return (error.exit_code, str(error)) if error else None


def _unknown_choice(failure: Failure) -> Explanation:
    """Hydra found no such file in a group of the configuration."""
    error = failure.of(MissingConfigException)
    if error is None or error.options is None:
        return None
    group, _, choice = str(error.missing_cfg_file).rpartition("/")
    if (group, choice) == ("hydra/sweeper", "optuna"):
        return EXIT_BAD_INPUT, f'{group}={choice}: not installed; pip install "mnist-lightning[optuna]"'
    options = [str(option) for option in error.options]
    way_out = near_miss(choice, options) or "use one of " + ", ".join(options)
    return EXIT_BAD_INPUT, f"{group or 'config'}={choice}: unknown; {way_out}"


def _unreadable_override(failure: Failure) -> Explanation:
    """Hydra's grammar does not know what was written."""
    error = failure.of(OverrideParseException)
    if error is None:
        return None
    reason = error.args[0].splitlines()[0].replace("LexerNoViableAltException: ", "unknown character in ")
    return EXIT_BAD_INPUT, f"{error.override}: cannot be read ({reason}); quote the value"


def _yaml(failure: Failure) -> Explanation:
    """A YAML file of the user's is none."""
    error = failure.of(YAMLError)
    return (EXIT_BAD_INPUT, yaml_files.explained(error)) if error else None


# What libraries say when something is not installed, or not as it should be
_INSTALLATION = {
    r"hydra_plugins\.hydra_(\w+?)_launcher": r'hydra/launcher=\1: not installed; pip install "mnist-lightning[\1]"',
    r"torchvision::nms": "torch and torchvision do not fit each other; pip install -U torch torchvision together",
}


def _installation(failure: Failure) -> Explanation:
    """A package is missing, or does not fit another."""
    matches = ((re.search(pattern, str(failure.error)), line) for pattern, line in _INSTALLATION.items())
    return next(((EXIT_BAD_INPUT, match.expand(line)) for match, line in matches if match), None)


def _cluster(failure: Failure) -> Explanation:
    """submitit could not give a job to the cluster, or the cluster lost it."""
    if not type(failure.error).__module__.startswith("submitit."):
        return None
    if state := re.search(r"\(state: (\w+)\)", str(failure.error)):
        line = f"hydra/launcher=submitit: the cluster lost a job (state {state[1]}); repeat the command"
        return EXIT_RUNS_MISSING, line
    line = f"hydra/launcher=submitit: {failure.error!s:.100}; see hydra.launcher.partition, qos, account"
    return EXIT_BAD_INPUT, line


def _hydra(failure: Failure) -> Explanation:
    """Hydra or OmegaConf refuses a key, its type, or several values of it."""
    if not isinstance(failure.error, (HydraException, OmegaConfBaseException)):
        return None
    text = str(failure.error)
    refusals = (_several_values, _no_such_key, _wrong_type)
    line = next((line for refusal in refusals if (line := refusal(text, failure.arguments))), None)
    return EXIT_BAD_INPUT, line or f"{' '.join(text.split())}; see --help"


def _several_values(text: str, arguments: Sequence[str]) -> str | None:
    key = re.search(r"Ambiguous value for argument '([^']+)'", text)
    if key is None:
        return None
    if any(a.startswith(("--cfg", "-c")) for a in arguments):
        return f"{key[1]}: several values; --cfg shows one run, give it one"
    return f"{key[1]}: several values; put -m in front to train each of them, or write a list as [a,b]"


def _no_such_key(text: str, arguments: Sequence[str]) -> str | None:
    override = re.search(r"Could not override '([^']+)'", text)
    if override is None:
        return None
    key = override[1].lstrip("+")
    value = next((a.partition("=")[2] for a in arguments if a.lstrip("+").partition("=")[0] == key), "")
    return f"{key}={value}: no such key; {suggest_key(key) or 'see --help for the keys'}"


def _wrong_type(text: str, arguments: Sequence[str]) -> str | None:
    override = re.search(r"Error merging override (.*)", text)
    if override is None:
        return None
    key, _, value = override[1].partition("=")
    return str(wrong_type(key, value))


def _name_too_long(failure: Failure) -> Explanation:
    """The system takes no path of that length."""
    if not (isinstance(failure.error, OSError) and failure.error.errno == errno.ENAMETOOLONG):
        return None
    return EXIT_BAD_INPUT, f"{max(failure.arguments, key=len, default='')[:60]}...: too long; see --help"


def _odd_argument(failure: Failure) -> Explanation:
    """Hydra stumbles over some arguments with Python's own errors; before anything began, it can only be these."""
    if failure.began or not isinstance(failure.error, (ValueError, TypeError, AttributeError)):
        return None
    arguments = failure.arguments
    culprit = arguments[0] if len(arguments) == 1 else next((a for a in arguments if _is_odd(a)), "key=value")
    return EXIT_BAD_INPUT, f"{culprit}: cannot be read ({failure.error!s:.60}); see --help for the keys"


def _is_odd(argument: str) -> bool:
    key, _, value = argument.lstrip("+~").partition("=")
    return not re.fullmatch(r"[\w./@-]+", key) or "(" in value or value.startswith("[")


def _operating_system(failure: Failure) -> Explanation:
    """Something could not be written, or read, that is not named by an error of ours."""
    if not isinstance(failure.error, OSError):
        return None
    where = failure.error.filename or "output"
    line = f"{where}: {failure.error.strerror or failure.error}; choose another directory or free the disk"
    return EXIT_OUTPUT, line


EXPLAINERS: tuple[Callable[[Failure], Explanation], ...] = (
    _ours,
    _unknown_choice,
    _unreadable_override,
    _yaml,
    _installation,
    _cluster,
    _hydra,
    _name_too_long,
    _odd_argument,
    _operating_system,
)
