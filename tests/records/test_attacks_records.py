"""Records and plans that somebody else has written: refused by name, or plain text and numbers."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from attack_files import at_most
from mnist_lightning import RunConfig
from mnist_lightning.errors import RefusedError, UserError
from mnist_lightning.records import results
from mnist_lightning.records.plan import PLAN, read_plan
from mnist_lightning.records.results import RECORD, RunResult, load_results
from mnist_lightning.records.run_directory import stored_result
from mnist_lightning.sweep.plan import commit_plan
from mnist_lightning.sweep.sweep import Sweep

pytestmark = pytest.mark.faults
SECONDS = 2
Tiny = Callable[..., RunConfig]


def sealed(**changes: Any) -> str:
    """A record with anything in it and the right checksum: whoever writes one can compute that."""
    text = results.to_json(RunResult(run_name="run", fingerprint="ab12"))
    plain = {k: v for k, v in json.loads(text).items() if k != "sha256"} | changes
    body = json.dumps(plain, indent=2).removesuffix("\n}") + results._SEAL
    return f'{body}{results.hashlib.sha256(body.encode()).hexdigest()}"\n}}\n'


REFUSED_RECORDS: dict[str, str] = {
    "number beyond floats": sealed(loss=10**400),
    "nested": '{"a":' * 100_000,
    "number of a million digits": sealed().replace('"seed": null', '"seed": ' + "9" * 1_000_000),
    "half a character": sealed(run_name="\ud800"),
    "list as a name": sealed(run_name=["a"]),
    "dictionary as a number": sealed(loss={"__class__": "os.system"}),
    "no fingerprint": sealed(fingerprint=""),
    "later schema": sealed(schema=99),
    "yaml": "!!python/object/apply:os.system ['true']\n",
    "too large": sealed(error="x" * 2**21),
    "status unknown": sealed(status="hacked"),
}
HARMLESS_RECORDS: dict[str, str] = {
    "class": sealed(__class__="os.system", __reduce__=["os.system"], _target_="os.system"),
    "paths": sealed(run_name="../../../canary", model_path="/etc/passwd"),
    "escapes": sealed(run_name="\x1b]0;x\x07\u202e", error="=cmd|' /C calc'!A0"),
}


@pytest.mark.parametrize("name", REFUSED_RECORDS)
def test_a_hostile_record_is_refused_by_name_and_put_aside(name: str, tmp_path: Path) -> None:
    path = tmp_path / "run" / RECORD
    path.parent.mkdir()
    path.write_text(REFUSED_RECORDS[name])
    with at_most(SECONDS), pytest.raises(RefusedError, match=f"^{path}: no whole record"):
        load_results(tmp_path)
    assert stored_result(path.parent) is None


@pytest.mark.parametrize("name", HARMLESS_RECORDS)
def test_hostile_text_in_a_record_is_text(name: str, tmp_path: Path) -> None:
    sweep = tmp_path / "a" / "b" / "sweep"
    (sweep / "run").mkdir(parents=True)
    (sweep / "run" / RECORD).write_text(HARMLESS_RECORDS[name])
    before = set(tmp_path.rglob("*"))
    (record,) = load_results(sweep)
    assert all(isinstance(v, (str, int, float, type(None))) for v in asdict(record).values())
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("reader", [load_results, stored_result], ids=["load_results", "stored_result"])
def test_a_pipe_in_the_place_of_a_record_does_not_hang_anybody(reader: Callable[[Path], Any], tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    os.mkfifo(tmp_path / "run" / RECORD)
    with at_most(SECONDS):
        try:
            assert not reader(tmp_path if reader is load_results else tmp_path / "run")
        except RefusedError as error:
            assert RECORD in str(error)


def plan(runs: Any = None, **more: Any) -> str:
    return json.dumps({"runs": {"ab": {"run_name": "run", "config": {}}} if runs is None else runs} | more)


HOSTILE_PLANS: dict[str, str] = {
    "nested": '{"runs":' * 100_000,
    "nested in a config": plan().replace("{}", '{"a":' * 90_000 + "1" + "}" * 90_000),
    "number of a million digits": plan().replace("{}", '{"a":' + "9" * 1_000_000 + "}"),
    "yaml": "!!python/object/apply:os.system ['true']\n",
    "runs a list": plan([1]),
    "config a text": plan({"ab": {"run_name": "run", "config": "x"}}),
    "name a number": plan({"ab": {"run_name": 3, "config": {}}}),
    "name leading out": plan({"ab": {"run_name": "../../../canary", "config": {}}}),
    "absolute name": plan({"ab": {"run_name": "/canary", "config": {}}}),
    "escapes": plan({"\x1b[31m": {"run_name": "\n", "config": {"\x1b": "\u202e"}}}),
    "class": plan({"ab": {"run_name": "run", "config": {"__class__": "os.system", "_target_": "os.system"}}}),
}


@pytest.mark.parametrize("name", HOSTILE_PLANS)
def test_a_hostile_plan_is_refused_in_a_sentence_or_harmless(name: str, tmp_path: Path, tiny: Tiny) -> None:
    sweep = tmp_path / "a" / "b" / "sweep"
    sweep.mkdir(parents=True)
    (sweep / PLAN).write_text(HOSTILE_PLANS[name])
    before = set(tmp_path.rglob("*"))
    with at_most(SECONDS):
        for use in (
            read_plan,
            lambda root: Sweep(root).outcome(),
            lambda root: commit_plan(root, [tiny()], {"mnist": "0"}, {}),
        ):
            try:
                use(sweep)
            except UserError as error:
                assert str(sweep) in str(error)
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("digests", [[1], "x", 3, None])
def test_a_plan_of_this_very_sweep_with_hostile_data_is_refused(digests: Any, tmp_path: Path, tiny: Tiny) -> None:
    (tmp_path / PLAN).write_text(plan({tiny().fingerprint: {"run_name": "run", "config": {}}}, data=digests))
    with pytest.raises(RefusedError, match=f"^{tmp_path / PLAN}: no plan of a sweep"):
        commit_plan(tmp_path, [tiny()], {"mnist": "0"}, {})


def test_a_pipe_in_the_place_of_a_plan_does_not_hang_anybody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / PLAN)
    with at_most(SECONDS), pytest.raises(RefusedError, match=PLAN):
        read_plan(tmp_path)
