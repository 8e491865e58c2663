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
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException
from yaml import YAMLError

from mnist_lightning.command import yaml_files
from mnist_lightning.config import suggest_key, takes_list, unresolved, wrong_type
from mnist_lightning.config.section import near_miss
from mnist_lightning.errors import EXIT_BAD_INPUT, EXIT_BUG, EXIT_OUTPUT, UserError, chain_of, cut
from mnist_lightning.sweep.search_names import KEYS as SEARCH_KEYS

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
        return chain_of(self.error)

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
    missing, keys = str(error.missing_cfg_file), [a.lstrip("+").partition("=")[0] for a in failure.arguments]
    named = [key for key in keys if missing.startswith(f"{key}/")]  # the choice may have slashes, too
    group = max(named, key=len) if named else missing.rpartition("/")[0]
    choice = missing.removeprefix(f"{group}/")
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
    """submitit could not give a job to the cluster."""
    if not type(failure.error).__module__.startswith("submitit."):
        return None
    launcher = _value_of("hydra/launcher", failure.arguments) or "submitit"
    line = f"hydra/launcher={launcher}: {cut(str(failure.error), 100)}; see hydra.launcher.partition, qos, account"
    return EXIT_BAD_INPUT, line


def _hydra(failure: Failure) -> Explanation:
    """Hydra or OmegaConf refuses a key, its type, or several values of it."""
    if not isinstance(failure.error, (HydraException, OmegaConfBaseException)):
        return None
    if isinstance(failure.error, InterpolationResolutionError):
        return EXIT_BAD_INPUT, unresolved(failure.error, _value_of(str(failure.error.full_key), failure.arguments))
    text = str(failure.error)
    refusals = (_a_search, _several_values, _no_such_key, _wrong_type)
    line = _hydras_key(failure) or next((line for r in refusals if (line := r(text, failure.arguments))), None)
    return EXIT_BAD_INPUT, line or f"{' '.join(text.split())}; see --help"


def _value_of(key: str, arguments: Sequence[str]) -> str:
    """The value that a key has on the command line; empty where it has none there."""
    return next((a.partition("=")[2] for a in arguments if a.lstrip("+").partition("=")[0] == key), "")


def _a_search(text: str, arguments: Sequence[str]) -> str | None:
    """A range without steps, which only a search can draw from."""
    if "INTERVAL_SWEEP" not in text and not re.search(r"=interval\(.*requires --multirun", text):
        return None
    argument = next((a for a in arguments if "=interval(" in a), "interval")
    way_out = 'pip install "mnist-lightning[optuna]" and add -m hydra/sweeper=optuna'
    return f"{argument}: for a search, not for a grid; {way_out}, or list values"


def _several_values(text: str, arguments: Sequence[str]) -> str | None:
    """Several values of a key, without -m."""
    found = re.search(r"(?s)Ambiguous value for argument '(.+)'\n1\.|Sweep parameters '(.+)' requires", text)
    if found is None:
        return None
    argument = found[1] or found[2]
    if any(a.startswith(("--cfg", "-c")) for a in arguments):
        return f"{argument}: several values; --cfg shows one run, give it one"
    key = argument.lstrip("+").partition("=")[0]
    if key.startswith("hydra"):
        return f"{argument}: several values; give it one"
    or_list = ", or write a list as [a,b]" if found[1] and takes_list(key) else ""
    return f"{argument}: several values; put -m in front to train each of them{or_list}"


def _no_such_key(text: str, arguments: Sequence[str]) -> str | None:
    override = re.search(r"Could not override '([^']+)'", text)
    if override is None:
        return None
    key = override[1].lstrip("+")
    value = _value_of(key, arguments)
    what, way_out = _of_a_search(key, value) or ("no such key", suggest_key(key) or "see --help for the keys")
    return f"{key}={value}: {what}; {way_out}"


def _of_a_search(key: str, value: str) -> tuple[str, str] | None:
    """What is wrong with a key of a search that Hydra does not find, and the way out; None if it is none."""
    name = re.sub(r"^hydra[./]sweeper[./]", "", key)
    first, _, argument = name.partition(".")
    if name == key:
        return None
    if key.startswith("hydra/") and name in SEARCH_KEYS:
        return "is written with dots", f"hydra.sweeper.{name}={value}"
    if first == "pruner" and argument:
        return "a pruner's arguments stand in braces", f"hydra.sweeper.pruner={{_target_:NAME,{argument}:{value}}}"
    if first in {*SEARCH_KEYS, "sampler"} - {"params"}:  # which a grid has, too
        return "is for a search", "add -m hydra/sweeper=optuna"
    guess = near_miss(f"hydra.sweeper.{first}", [f"hydra.sweeper.{known}" for known in SEARCH_KEYS], cutoff=0.85)
    return ("no such key", guess) if guess else None


def _hydras_key(failure: Failure) -> str | None:
    """A key of Hydra's own has a value that Hydra does not take."""
    override = re.search(r"Error merging override \+*(hydra\b.*)", str(failure.error))
    if override is None:
        return None
    why = [str(cause).splitlines()[0] for cause in failure.chain[1:] if str(cause)]
    return f"{override[1]}: {why[0] if why else 'refused by Hydra'}; see --hydra-help"


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
    if failure.began or not isinstance(failure.error, (ValueError, TypeError, AttributeError, AssertionError)):
        return None
    arguments = failure.arguments
    culprit = arguments[0] if len(arguments) == 1 else next((a for a in arguments if _is_odd(a)), "key=value")
    why = f" ({cut(str(failure.error), 60)})" if str(failure.error) else ""
    return EXIT_BAD_INPUT, f"{culprit}: cannot be read{why}; see --help for the keys"


def _is_odd(argument: str) -> bool:
    key, _, value = argument.lstrip("+~").partition("=")
    return not re.fullmatch(r"[\w./@-]+", key) or "(" in value or value.startswith(("[", "{"))


def _operating_system(failure: Failure) -> Explanation:
    """Something could not be written, or read, that is not named by an error of ours."""
    if not isinstance(failure.error, OSError):
        return None
    reason = failure.error.strerror or failure.error
    if failure.error.filename is None:
        return EXIT_OUTPUT, f"standard output: cannot be written ({reason}); free the disk or choose another place"
    return EXIT_OUTPUT, f"{failure.error.filename}: {reason}; choose another directory or free the disk"


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
