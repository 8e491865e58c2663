"""Breaks the source in small ways, one at a time, and lists what no test notices: `python tests/mutation.py numerics`.

Cosmic Ray makes the changes (`pip install -e ".[dev,mutation]"`): another operator, a number one larger or smaller, a
`not` more, a decorator or an `except` less, a loop that is skipped. We add statements that are left out: calls, raises.
Texts stay as they are. A name is a folder or a file of src/mnist_lightning that stands in `TESTS` below; without one
all are taken, which takes hours; with MUTANTS=60 in the environment 60 changes of each file, by lot. It goes on where
it was interrupted. What survived is printed; what was found is in outputs/mutation/, for `cr-report --show-diff`, too.
To begin anew, when tests were taken away, remove that folder.

It works on a copy, and forks for each change from a process that has imported torch and the like but nothing of ours: a
change costs half a second instead of six.
"""

from __future__ import annotations

import ast
import compileall
import gc
import hashlib
import importlib
import os
import random
import re
import shlex
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch: its threads do not survive a fork
import cosmic_ray.plugins  # pyright: ignore[reportMissingImports] - an extra: pip install -e ".[dev,mutation]"
import parso.python.tree as syntax  # pyright: ignore[reportMissingImports] - what it parses with
from cosmic_ray import mutating  # pyright: ignore[reportMissingImports]
from cosmic_ray.commands import init  # pyright: ignore[reportMissingImports]
from cosmic_ray.operators.operator import Operator  # pyright: ignore[reportMissingImports]
from cosmic_ray.work_db import use_db  # pyright: ignore[reportMissingImports]
from cosmic_ray.work_item import TestOutcome, WorkResult  # pyright: ignore[reportMissingImports]

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / "outputs" / "mutation"
PYTEST = "-x -q --assert=plain -p no:cacheprovider -p no:xdist --basetemp=../tmp".split()  # noqa: SIM905 - as it is typed
COPIED = ("src", "conf", "tests", "pyproject.toml")
# What most tests import: once here, instead of once a change. Nothing that imports ours
HEAVY = "torch torchvision.datasets lightning torchmetrics.functional hydra pandas openpyxl matplotlib.pyplot jinja2"
TESTERS = "pytest hypothesis"

_TRACES = "tests/numerics/test_keras_traces.py -k 'not reproduces or 4-2-1 and 0.01'"  # a few of the 72
_OPTIMIZERS = f"tests/numerics/test_optimizers.py tests/fused/test_stacked.py {_TRACES}"
_NO_FIGURES = "-k 'not nowhere_called and not damaged and not write_report and not nothing_is_done and not ranked'"
# The tests that judge a file, the quickest first: pytest's arguments
TESTS = {
    "numerics/losses.py": "tests/numerics/test_losses.py",
    "numerics/metrics.py": "tests/numerics/test_losses.py",
    "numerics/model.py": "tests/numerics/test_model.py tests/fused/test_stacked.py",
    "numerics/optimizers.py": _OPTIMIZERS,
    "numerics/update_rules.py": _OPTIMIZERS,
    "records/results.py": "-m '' tests/records/test_results.py tests/records/test_run_directory.py"
    " tests/records/test_attacks_records.py",
    "records/durable.py": "-m '' tests/records/test_durable.py tests/records/test_results.py"
    " tests/records/test_run_directory.py tests/records/test_faults_calls.py -k 'not killed_at_every_step'",
    "records/locks.py": "tests/records/test_locks.py",
    "records/predictions.py": "tests/records/test_predictions.py",
    "records/plan.py": "tests/sweep/test_plan.py tests/records/test_run_directory.py -k 'test_plan or of_the_disk'",
    "records/run_directory.py": "tests/records/test_run_directory.py",
    "records/reading.py": "-m '' tests/records/test_reading.py tests/records/test_attacks_records.py -k 'not hostile'",
    "records/epochs.py": "tests/records/test_epochs.py",
    "data/datasets.py": "tests/data/test_datasets.py tests/data/test_batches.py tests/data/test_data_files.py",
    "data/files.py": "tests/data/test_data_files.py tests/data/test_download.py",
    "config/section.py": "tests/config tests/command/test_help.py",
    "sweep/plan.py": "tests/sweep/test_plan.py tests/sweep/test_sweep.py -k 'not of_the_plan and not without_a_plan'",
    "sweep/sweep.py": "tests/sweep/test_sweep.py tests/sweep/test_plan_and_outcome.py -k 'not command_whose'",
    "sweep/attempts.py": "tests/sweep/test_sweep.py tests/command/test_directories.py"
    " tests/sweep/test_persistent_launcher.py"
    " -k 'without_a_final or that_begins or not_taken_for_the_end or the_same_attempt or has_noted'",
    "command/cli.py": "tests/command/test_exit_codes.py",
    "command/signals.py": "tests/command/test_signals_raised.py tests/command/test_exit_codes.py",
    "command/yaml_files.py": "tests/command/test_yaml_files.py",
    "training/interrupted.py": "tests/training/test_interrupted.py",
    "command/explain.py": "tests/command/test_explain.py tests/command/test_overrides.py -k 'explain'",
    "report/statistics.py": "tests/report/test_statistics.py",
    "report/verdicts.py": "tests/report/test_verdicts.py",
    "report/ranking.py": "tests/report/test_answers.py tests/report/test_ranking.py",
    "report/identity.py": "tests/report/test_identity.py tests/report/test_where.py -k 'test_identity or epochs_alone'",
    "report/comparison.py": "tests/report/test_comparison.py",
    "report/state.py": f"tests/report/test_state.py {_NO_FIGURES}",
    "report/groups.py": "tests/report/test_ranking.py tests/report/test_frame.py -k 'not torch'",
    "report/versus.py": "tests/report/test_versus.py -k 'not parameters'",
    "report/effects.py": "tests/report/test_ranking.py tests/report/test_answers.py",
    "report/curves.py": "tests/report/test_curves.py tests/report/test_where.py -k 'test_curves or link'",
    "report/provenance.py": "tests/report/test_provenance.py -k 'not real_sweep and not a_sweep_s'",
    "report/write.py": "tests/report/test_write.py -k 'no_run_that or no_longer_apply or users_under or first_version"
    " or its_seal or workbook or directory_in or killed_after or single_run'",
    "report/frame.py": "tests/report/test_frame.py tests/report/test_verdicts.py -k 'not torch'",
    "errors.py": "tests/test_errors.py tests/command/test_overrides.py -k 'test_errors or for_the_shell or no_text'",
}
# An operator is replaced by its opposite alone: by all others, a sum is broken in six ways that nobody can overlook.
# And `is` is not put for ==, which nothing can notice between small numbers
POINTLESS = re.compile(
    r"core/ReplaceBinaryOperator_(?!Add_Sub|Sub_Add|Mul_Div|Div_Mul|FloorDiv_Mul|Mod_Mul|Pow_Mul|BitOr_BitAnd"
    r"|BitAnd_BitOr|BitXor_BitOr|LShift_RShift|RShift_LShift)"
    r"|core/ReplaceComparisonOperator_(Eq|NotEq|Lt|LtE|Gt|GtE)_Is"
    r"|core/ReplaceComparisonOperator_Is(Not)?_(Eq|NotEq|Lt|LtE|Gt|GtE)$"
    r"|core/ReplaceUnaryOperator_(?!USub_UAdd|Delete_Not|Delete_Invert)"
)


class LeaveOut(Operator):
    """Leaves out a statement that is a call, a `raise`, or a `del`."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Where it can be applied to a node of the syntax tree."""
        stands_alone = node.parent is not None and node.parent.type == "simple_stmt"
        if stands_alone and node.type in ("atom_expr", "power", "raise_stmt", "del_stmt"):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """The statement that does nothing."""
        return syntax.Keyword("pass", node.start_pos, prefix=node.get_first_leaf().prefix)

    @classmethod
    def examples(cls) -> tuple[()]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """None: they would be for its own tests."""
        return ()


def main(names: list[str]) -> None:
    """Goes through the named files and prints what survived in each."""
    chosen = [file for file in TESTS if not names or any(file == n or file.startswith(f"{n}/") for n in names)]
    if not chosen:
        sys.exit(f"{' '.join(names)}: no such folder or file in TESTS of {__file__}")
    cosmic_ray.plugins.OPERATOR_PROVIDERS["ours"] = {"LeaveOut": LeaveOut}
    for module in f"{HEAVY} {TESTERS}".split():
        importlib.import_module(module)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        project = Path(place) / "project"
        project.mkdir()
        for part in COPIED:
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy2  # with the times of change
            copy(ROOT / part, project / part)
        os.chdir(project)
        compileall.compile_dir("src", quiet=1)
        compileall.compile_dir("tests", quiet=1)
        gc.freeze()  # pytest collects garbage at its end: not among all of this
        for file in chosen:
            mutate(file)


def mutate(file: str) -> None:
    """Changes one file in every way, and prints the changes with which its tests still pass.

    Goes on where it was interrupted, as long as the file is the same; what survived is tried again.
    """
    path, start, counts = Path("src/mnist_lightning") / file, time.time(), Counter[str]()
    expect_passing(file)
    limit = 20 + 4 * (time.time() - start)
    content = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    with use_db(OUTPUT / f"{file.replace('/', '-').removesuffix('.py')}-{content}.sqlite") as work:
        if not work.num_work_items:
            init([path], work, {})
        known, pointless = dict(work.results), means_nothing(path)
        for item in drawn(list(work.work_items), pointless):
            (mutation,), result = item.mutations, known.get(item.job_id)
            if result is None or not result.is_killed:
                result = mutating.mutate_and_test(item.mutations, TESTS[file], limit)
            work.set_result(item.job_id, result)
            counts[result.test_outcome or "skipped"] += 1
            if not result.is_killed:
                print(f"{path}:{mutation.start_pos[0]}: {mutation.operator_name}\n{changed_lines(result)}", flush=True)
    expect_passing(file)  # so that nothing was taken for found that a broken surrounding failed
    found, total = counts.total() - counts["skipped"] - counts["survived"], counts.total() - counts["skipped"]
    minutes = (time.time() - start) / 60
    print(f"{file}: {found} of {total} found, {found / max(total, 1):.1%}; {minutes:.1f} minutes", flush=True)


def drawn(items: list[Any], pointless: Callable[[Any], bool]) -> list[Any]:
    """The changes to make, from top to bottom: all, or as many as $MUTANTS says, by lot, the same ones each time."""
    found = [
        (i.mutations[0].start_pos, i.mutations[0].operator_name, i.mutations[0].occurrence, i.job_id) for i in items
    ]
    chosen = dict(zip(found, items, strict=True))
    found = sorted(place for place in found if not pointless(chosen[place].mutations[0]))
    n = int(os.environ.get("MUTANTS", len(found)))
    return [chosen[place] for place in sorted(random.Random(0).sample(found, min(n, len(found))))]


def expect_passing(file: str) -> None:
    """Ends the program if a file's tests fail without any change."""
    code, output = forked_tests(TESTS[file], 600)
    if code != 0:
        sys.exit(f"{file}: its tests fail without any change\n{output}")


def means_nothing(path: Path) -> Callable[[Any], bool]:
    """Whether a change is `POINTLESS`, lies in an annotation, which nothing evaluates, or is of a signature's star.

    Or of a `strict=True` or `frozen=True`, which guard against mistakes of ours: in a right program they do nothing.
    """
    text = path.read_text()
    lines, nodes = text.splitlines(), list(ast.walk(ast.parse(text)))
    found = [getattr(node, "annotation", None) for node in nodes] + [getattr(node, "returns", None) for node in nodes]
    spans = [((a.lineno, a.col_offset), (a.end_lineno, a.end_col_offset)) for a in found if isinstance(a, ast.expr)]

    def check(change: Any) -> bool:
        row, column = change.start_pos
        star = lines[row - 1][column : column + 2] == "*,"
        guard = lines[row - 1][:column].endswith(("strict=", "frozen="))
        annotation = any(start <= change.start_pos < end for start, end in spans)
        return bool(POINTLESS.match(change.operator_name)) or annotation or star or guard

    return check


def changed_lines(result: WorkResult) -> str:
    """The lines in which the file differed."""
    diff = (result.diff or "").splitlines()[3:]
    return "\n".join(f"    {line}" for line in diff if line.startswith(("-", "+")))


def forked_tests(arguments: str, seconds: float) -> tuple[int, str]:
    """Runs pytest in a child of this process: its exit code, -1 if it took too long, and its last lines."""
    with tempfile.TemporaryFile() as output:
        if (pid := os.fork()) == 0:
            work_in_child(arguments, output.fileno())
        deadline, status = time.time() + seconds, None
        try:
            while status is None and time.time() < deadline:
                time.sleep(0.02)
                ended, code = os.waitpid(pid, os.WNOHANG)
                status = code if ended else None
        finally:  # also what the tests have left running, and when this process is interrupted
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            if status is None:
                os.waitpid(pid, 0)
        output.seek(0)
        last = output.read()[-2000:].decode(errors="replace")
        return (-1 if status is None else os.waitstatus_to_exitcode(status)), last


def work_in_child(arguments: str, output: int) -> None:
    """Runs pytest and ends the process: whatever becomes of it, it never returns into the parent's work."""
    code = 3
    try:
        import pytest

        os.setsid()
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.path[:0] = [str(Path("src").resolve())]
        os.environ["PYTHONPATH"] = sys.path[0]
        sys.dont_write_bytecode = True  # two changes within a second look alike to Python's cache
        code = int(pytest.main([*PYTEST, *shlex.split(arguments)]))
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def outcome(arguments: str, seconds: float) -> tuple[TestOutcome, str]:
    """What Cosmic Ray asks for each change, and would answer by a new interpreter."""
    code, output = forked_tests(arguments, seconds)
    return (TestOutcome.SURVIVED if code == 0 else TestOutcome.KILLED), output


if __name__ == "__main__":
    mutating.run_tests = outcome
    main(sys.argv[1:])
