"""A thousand bad overrides: each ends in one printable line that names it, with exit code 2, and nothing is run.

Composing takes 0.15 s, so each kind is tried a few times through the whole command line, and all that can be written
as plain values through `config.parse`. MNIST_TEST_LONG=1 sends all of them through the command line.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from mnist_lightning.config import parse
from mnist_lightning.config.keys import all_keys
from mnist_lightning.errors import ConfigError, one_line

pytestmark = pytest.mark.faults


LONG = os.environ.get("MNIST_TEST_LONG") == "1"
COUNT = 1000
SAMPLE = 48
Run = Callable[..., tuple[int, str, str]]


class Bad(NamedTuple):
    """Arguments of the command line; where they are one key and a plain value, also those."""

    kind: str
    arguments: list[str]
    key: str = ""
    value: Any = None


INTEGERS = {
    "seed": (0, 2**32 - 1),
    "model.num_channels": (1, 4096),
    "model.num_conv": (0, 4),
    "model.num_dense": (0, 100),
    "data.batch_size": (1, 1_000_000),
    "data.val_size": (0, None),
    "data.train_size": (1, None),
    "data.test_size": (1, None),
    "trainer.max_epochs": (1, None),
    "sweep.max_retries": (0, None),
}
GROUPS = ["optimizer", "data", "logger", "experiment"]
WORDS = ["abc", "adamm", "two", "1e-3x", "tru", "NULL!", "0x", "--", "mse2", "minst", "1_", "one two"]
HOSTILE = [
    "\x1b[31mred\x1b[0m",
    "a\nb",
    "a\r\nb\ttab",
    "\x07\x08\x00x",
    "\u202egnp.exe",
    "\u2028line",
    "😀" * 40,
    "é" * 300,
    "x" * 300,
    "../../../etc/passwd",
    "'; rm -rf / #",
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "con",
    "a:b*?",
    "%s%n{0}{x}",
    "\ufeffbom",
    "\udcff",
    "${",
    "\\",
]
GRAMMAR = [
    "choice(",
    "lr=choice(",
    "lr=[1",
    "lr={a",
    "lr={a:",
    "lr=range(",
    "lr=range(1",
    "lr=interval(0,1)",
    "lr=glob(*",
    "lr=sort(",
    "lr=shuffle(",
    "lr=tag(",
    "lr=extend_list(1",
    "lr=int(x",
    "lr=float(x)",
    "lr='",
    'lr="',
    "lr=a=b",
    "lr=:",
    "lr=,",
    "lr=1,,2",
    "lr=$(x)",
    "lr",
    "=1",
    "",
    " ",
    "lr:0.1",
    "@=1",
    "lr@model=1",
    "optimizer@=adam",
    "optimizer@model=adam",
    "+=1",
    "++=1",
    "~",
    "~lr",
    "~x",
    "~optimizer",
    "~model.num_conv=1",
    "+x=",
    "++x=",
    "+x=1",
    "++x=1",
    "+lr.x=1",
    "++model.foo=1",
    "+model._target_=os.system",
    "lr.x=1",
    "lr.0=1",
    "model=1",
    "model=[1]",
    "model=null",
    "trainer=x",
    "sweep=[]",
    "callbacks=3",
    "callbacks={a:1}",
    "logger=[1]",
    'é"x=1',
    "a=$(x)",
    "lr=1,2",
    "optimizer=adam,sgd",
    "lr=${oops}",
    "lr=${oc.env:NOPE}",
    "lr=${",
    "lr=${lr}",
    "lr=${model}",
    "lr=${nope:1}",
    "loss=${oops}",
    "data.root=${oops}",
    "data.root=${oc.env:NOPE}",
    "seed=${oc.env:PATH}",
    "optimizer.options.x=${oops}",
    "optimizer=${oops}",
    "callbacks=[${oops}]",
    "--lr",
    "--lr=3",
    "-x",
    "--multirum",
]
SWEEPS = [
    "lr=range(1,0)",
    "seed=range(5,5)",
    "seed=range(0)",
    "lr=choice()",
    "lr=glob(nothing*)",
    "optimizer=glob(nothing*)",
    "lr=0.1,-1",
    "lr=0.1,abc",
    "seed=0,-1",
    "optimizer=adam,adamm",
    "loss=mse,mes",
    "model.num_conv=1,5",
    "modle.num_conv=1,2",
    "lr=1,,2",
    "lr=interval(0,1)",
    "lr=${oops},1",
    "+x=1,2",
    "~lr",
    "lr=",
    "seed=range(0,3,0)",
]


def misspelt(key: str, chance: random.Random) -> str:
    i = chance.randrange(len(key))
    letter = chance.choice("abcxyz_0")
    return chance.choice([key[:i] + key[i + 1 :], key[:i] + letter + key[i:], key[:i] + letter + key[i + 1 :]])


def quoted(value: object) -> str:
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return {None: "null", True: "true", False: "false"}.get(value, str(value).replace("'", "")) if not isinstance(
        value, (list, dict)
    ) else str(value).replace("'", "")  # fmt: skip


def unknown_keys(chance: random.Random) -> Iterator[Bad]:
    known = {key.name for key in all_keys()}
    open_ended = ("optimizer.options", "logger.", "hydra")  # take further arguments
    while True:
        key = misspelt(chance.choice(sorted(known)), chance)
        parts = key.split(".")
        if key in known or key.startswith(open_ended) or not all(p.isidentifier() for p in parts):
            continue
        if any(
            ".".join(parts[:i]) in known - set(GROUPS) - {"model", "trainer", "sweep"} for i in range(1, len(parts))
        ):
            continue
        yield Bad("unknown key", [f"{chance.choice(['', '+', '++'])}{key}=1"], key, 1)


def wrong_types(chance: random.Random) -> Iterator[Bad]:
    while True:
        key = chance.choice([*INTEGERS, "lr", "loss", "data.download"])
        values: list[Any] = [chance.choice(WORDS), [1, 2], {"a": 1}, [], [[chance.choice(WORDS)]]]
        values += [2.5, -0.5] if key in INTEGERS else []
        values += [7.5] if key == "data.download" else []  # OmegaConf takes any whole number for true or false
        values += [None] if key not in ("data.train_size", "data.test_size") else []
        value = chance.choice(values)
        yield Bad("wrong type", [f"{key}={quoted(value)}"], key, value)


def out_of_range(chance: random.Random) -> Iterator[Bad]:
    while True:
        key = chance.choice([*INTEGERS, "lr"])
        if key == "lr":
            value = chance.choice([0, -1, -chance.random(), math.nan, math.inf, -math.inf, 1e31, 1e300, -1e-300])
        else:
            low, high = INTEGERS[key]
            value = chance.choice([low - 1, low - chance.randrange(1, 10**9), *([high + 1, high * 99] if high else [])])
        yield Bad("out of range", [f"{key}={value}"], key, value)


def unknown_choices(chance: random.Random) -> Iterator[Bad]:
    while True:
        key = chance.choice([*GROUPS, "loss", "trainer.precision"])
        word = chance.choice(["nope", "adamm", "minst", "mes", "smok", "ADAM", "32-tru"]) + str(chance.randrange(100))
        # a group is a file for Hydra and a section for parse, so only the other two are the same for both
        plain = {"optimizer": "optimizer.name", "data": "data.name"}.get(key, "" if key in GROUPS else key)
        yield Bad("unknown choice", [f"{key}={word}"], plain, word)


def hostile(chance: random.Random) -> Iterator[Bad]:
    while True:
        text = chance.choice(HOSTILE) + chance.choice(["", "x", str(chance.randrange(1000))])
        key = chance.choice(["loss", "trainer.precision", "lr", "seed", "data", "optimizer", "experiment"])
        plain = "" if key in GROUPS or "$" in text else key
        as_key = Bad("hostile key", [f"{text}=1"], "" if "." in text or "$" in text else text, 1)
        yield as_key if chance.random() < 0.3 else Bad("hostile value", [f"{key}={quoted(text)}"], plain, text)


def of_another_key(bad: str, good: list[str]) -> list[str]:
    """Of one key the last value counts, so a good one after a bad one makes a good command."""
    return [text for text in good if text.partition("=")[0] != bad.partition("=")[0]]


def written(chance: random.Random) -> Iterator[Bad]:
    # each of them once, and then before and after a good override
    for text in GRAMMAR:
        yield Bad("grammar", [text])
    while True:
        bad = chance.choice(GRAMMAR)
        both = [bad, chance.choice(of_another_key(bad, ["lr=0.1", "seed=3", "optimizer=adam"]))]
        chance.shuffle(both)
        yield Bad("grammar", both)


def sweeps(chance: random.Random) -> Iterator[Bad]:
    for text in SWEEPS:
        yield Bad("sweep", ["-m", text])
    while True:
        bad = chance.choice(SWEEPS)
        yield Bad("sweep", ["-m", bad, chance.choice(of_another_key(bad, ["seed=1,2", "optimizer=adam,sgd"]))])


KINDS = (unknown_keys, wrong_types, out_of_range, unknown_choices, hostile, written, sweeps)


def generated() -> list[Bad]:
    """COUNT bad inputs, the kinds in turn; always the same."""
    streams = [kind(random.Random(f"{i}")) for i, kind in enumerate(KINDS)]
    return [bad for row in islice(zip(*streams, strict=True), COUNT // len(KINDS) + 1) for bad in row][:COUNT]


def nested(key: str, value: Any) -> dict[str, Any]:
    head, _, rest = key.partition(".")
    return {head: nested(rest, value) if rest else value}


def wrong_with_line(line: str) -> str:
    """What is wrong with the line a user sees, or an empty string."""
    if not line.startswith("mnist-lightning: error: "):
        return "no error of ours"
    if len(line) > 200 or not line.isprintable():
        return "not one printable line of at most 200 characters"
    return "called a bug" if "a bug" in line else ""


def test_generated_values_that_are_bad_are_refused_in_one_line_that_names_the_key() -> None:
    judged, wrong = 0, []
    for bad in generated():
        if not bad.key:
            continue
        judged += 1
        try:
            parse(nested(bad.key, bad.value))
        except ConfigError as error:
            line = one_line(f"mnist-lightning: error: {error}")
            named = bad.key.partition(".")[0][:40] in str(error)
            if what := wrong_with_line(line) or ("" if named else "the key is not named"):
                wrong.append((bad, what, line))
        except Exception as error:
            wrong.append((bad, repr(error), ""))
        else:
            wrong.append((bad, "accepted", ""))
    assert wrong == []
    assert judged >= COUNT // 2


def what_went_wrong(run: Run, arguments: list[str], directory: Path) -> str:
    """How the command's end differs from one line, exit code 2 and nothing run; an empty string if it does not."""
    try:
        code, out, err = run(*arguments)
    except BaseException as error:  # main never raises
        return repr(error)[:300]
    finally:
        records = list(directory.rglob("result.json"))
        for record in records:
            record.unlink()
    line, end, rest = err.partition("\n")
    what = wrong_with_line(line)
    if code != 2 or out or rest or not end or what or records:
        return f"exit code {code}, {what or 'more than a line'}: {out[:100]!r} {err[:300]!r}"
    return ""


def test_bad_input_ends_the_command_in_one_line_with_exit_code_2_and_runs_nothing(
    run: Run, tiny_arguments: list[str], tmp_path: Path
) -> None:
    chosen = generated() if LONG else random.Random(3).sample(generated(), SAMPLE)
    found = [(bad.arguments, what_went_wrong(run, [*tiny_arguments, *bad.arguments], tmp_path)) for bad in chosen]
    wrong = [f"{arguments}: {what}" for arguments, what in found if what]
    assert not wrong, "\n".join(wrong)


@pytest.mark.skipif(LONG, reason="they are among all that are tried")
@pytest.mark.parametrize(("texts", "flag"), [(GRAMMAR, []), (SWEEPS, ["-m"])], ids=["a run", "a sweep"])
def test_what_cannot_be_read_is_refused_too(
    texts: list[str], flag: list[str], run: Run, tiny_arguments: list[str], tmp_path: Path
) -> None:
    chosen = random.Random(5).sample(texts, 16)
    found = [(text, what_went_wrong(run, [*flag, *tiny_arguments, text], tmp_path)) for text in chosen]
    wrong = [f"{text!r}: {what}" for text, what in found if what]
    assert not wrong, "\n".join(wrong)
