"""Errors of others explained: the exit code and the line, without the command around them."""

from __future__ import annotations

import errno
import pickle
from collections.abc import Sequence
from typing import Any

import pytest
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException

from mnist_lightning.command.explain import Failure, explain
from mnist_lightning.errors import DataError, OutputError, PassedOn


def raised(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


class SubmititError(Exception):
    __module__ = "submitit.core.utils"


def missing(name: str, options: Sequence[str] = ("adam", "sgd")) -> MissingConfigException:
    return MissingConfigException("", name, options)


AMBIGUOUS = "Ambiguous value for argument 'lr=0.1,0.2'\n1. To use it as a list, use key=[value1,value2]"


@pytest.mark.parametrize(
    ("error", "arguments", "code", "line"),
    [
        (raised(ValueError("x"), DataError("data: gone; restore it")), (), 4, "data: gone; restore it"),
        (missing("optimizer/adm"), ("optimizer=adm",), 2, "optimizer=adm: unknown; did you mean adam?"),
        (missing("optimizer/zzz"), (), 2, "optimizer=zzz: unknown; use one of adam, sgd"),
        (missing("a/b/c"), ("+a=b/c",), 2, "a=b/c: unknown; use one of adam, sgd"),
        (missing("a/b/c"), ("a=b/c", "a/b=c"), 2, "a/b=c: unknown; use one of adam, sgd"),
        (missing("zzz"), (), 2, "config=zzz: unknown; use one of adam, sgd"),
        (ImportError("hydra_plugins.hydra_ray_launcher"), (), 2, 'hydra/launcher=ray: not installed; pip install "mni'),
        (RuntimeError("operator torchvision::nms does not"), (), 2, "torch and torchvision do not fit each other; pip"),
        (SubmititError("x" * 200), (), 2, f"hydra/launcher=submitit: {'x' * 97}...; see hydra.launcher.partition, qos"),
        (HydraException(AMBIGUOUS), (), 2, "lr=0.1,0.2: several values; put -m in front to train each of them"),
        (
            HydraException(AMBIGUOUS),
            ("--cfg", "job"),
            2,
            "lr=0.1,0.2: several values; --cfg shows one run, give it one",
        ),
        (
            HydraException("Sweep parameters 'hydra.x=1,2' requires --multirun"),
            (),
            2,
            "hydra.x=1,2: several values; give it one",
        ),
        (HydraException("INTERVAL_SWEEP"), ("a=1", "lr=interval(0,1)"), 2, "lr=interval(0,1): for a search, not for a"),
        (HydraException("INTERVAL_SWEEP"), (), 2, "interval: for a search, not for a grid; pip install"),
        (HydraException("Could not override '+lrr'"), ("lr=1", "+lrr=2"), 2, "lrr=2: no such key; did you mean lr"),
        (HydraException("Could not override 'zzzzz'"), (), 2, "zzzzz=: no such key; see --help for the keys"),
        (
            raised(ConfigCompositionException("Error merging override hydra.job.x=1"), ValueError("bad\nmore")),
            (),
            2,
            "hydra.job.x=1: bad; see --hydra-help",
        ),
        (HydraException("Error merging override +hydra.x=1"), (), 2, "hydra.x=1: refused by Hydra; see --hydra-help"),
        (HydraException("Error merging override lr=x"), (), 2, "lr=x: not a number"),
        (ValueError(), ("plain",), 2, "plain: cannot be read; see --help for the keys"),
        (HydraException("some \n thing"), (), 2, "some thing; see --help"),
        (OSError(errno.ENAMETOOLONG, "long"), ("a", "b" * 99), 2, f"{'b' * 60}...: too long; see --help"),
        (
            OSError(errno.EACCES, "Permission denied", "here"),
            (),
            5,
            "here: Permission denied; choose another directory",
        ),
        (OSError("odd"), (), 5, "standard output: cannot be written (odd); free the disk or choose another place"),
        (ValueError("x" * 99), ("a=[1",), 2, f"a=[1: cannot be read ({'x' * 57}...); see --help for the keys"),
        (ValueError(), ("a=1", "b=f(1"), 2, "b=f(1: cannot be read; see --help for the keys"),
        (ValueError(), ("~a=1", "b=2"), 2, "key=value: cannot be read; see --help for the keys"),
        (ValueError(), ("a=1", "a b=2", "c={"), 2, "a b=2: cannot be read; see --help for the keys"),
        (ZeroDivisionError("x"), (), 1, "ZeroDivisionError: x; a bug: please report it with the output of -v"),
    ],
)
def test_an_error_is_explained_in_a_line_with_its_exit_code(
    error: BaseException, arguments: Sequence[str], code: int, line: str
) -> None:
    told, text = explain(Failure(error, arguments))
    assert (told, text[: len(line)]) == (code, line)


def test_once_a_sweep_has_begun_an_error_of_pythons_is_no_bad_input() -> None:
    assert explain(Failure(ValueError("x"), ("a=[1",), began=True))[0] == 1


def test_an_error_while_explaining_is_explained_itself() -> None:
    class OddError(Exception):
        def __str__(self) -> str:
            raise ZeroDivisionError("odd")

    error: Any = OddError()
    assert explain(Failure(error))[1].startswith("ZeroDivisionError: odd; a bug")


def test_a_chain_of_errors_is_followed_to_its_first_cause() -> None:
    first, second, third = ValueError("1"), ValueError("2"), ValueError("3")
    assert Failure(raised(third, raised(second, first)), (), False).chain == [third, second, first]


def test_a_chain_of_errors_that_leads_back_to_itself_has_an_end() -> None:
    first, second = ValueError("first"), KeyError("second")
    first.__cause__, second.__context__ = second, first
    assert Failure(first).chain == [first, second]
    assert Failure(first).of(KeyError) is second
    assert Failure(first).of(OSError) is None


def test_an_error_of_the_users_from_a_worker_process_is_told_although_its_cause_is_lost_on_the_way() -> None:
    told = "here/metrics.csv: cannot be written (No space left on device); free the disk or choose another directory"
    error = PassedOn(OutputError(told))
    error.__cause__ = error.error
    arrived = pickle.loads(pickle.dumps(error))
    arrived.__cause__ = RuntimeError("the text of the worker's traceback, as joblib gives it")
    assert explain(Failure(arrived)) == (5, told)
