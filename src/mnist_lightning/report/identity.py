"""Which runs are one setting: the same configuration up to the seed, as far as what is stored tells."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mnist_lightning.config.keys import all_keys
from mnist_lightning.config.labels import as_given, short_keys
from mnist_lightning.errors import RefusedError
from mnist_lightning.records.plan import planned_runs
from mnist_lightning.records.results import RunResult
from mnist_lightning.report.curves import place_of, run_directory, small_text

# dotted key -> column of the record, for runs of which nothing but the record is there
_COLUMNS = {
    "optimizer.name": "optimizer",
    "loss": "loss_func",
    "lr": "learning_rate",
    "model.num_channels": "num_channels",
    "model.num_conv": "num_conv",
    "model.num_dense": "num_dense",
    "model._target_": "network",
    "data.name": "dataset",
    "data.train_size": "train_size",
    "data.test_size": "test_size",
    "data.val_size": "val_size",
    "data.batch_size": "batch_size",
    "trainer.precision": "precision",
}
_NAMED = list(_COLUMNS)[:7]  # what every setting's name has
_LARGEST_CONFIG = 2**16  # characters
_ANCHOR = re.compile(r"(?m)(?:^|[\s\[,:-])[&*]\w")  # we write none, and a few of them can unfold to gigabytes

Keys = tuple[tuple[str, str], ...]  # a configuration without its seed: dotted keys and their values as texts, sorted


@dataclass(frozen=True)
class Setting:
    """What a run shares with those that differ from it in the seed alone.

    `name` is unlike that of any other setting; `further` are those of its keys, besides optimizer, loss, learning rate
    and sizes, that vary in the sweep: `batch_size=32, momentum=0.9`; `planned` counts its runs in the plan,
    None without one.
    """

    name: str
    further: str
    planned: int | None


def settings_of(
    records: Sequence[RunResult], directory: Path | None = None, places: Sequence[str] | None = None
) -> list[Setting]:
    """Returns the setting of each record.

    Two runs are of one setting if their configurations, in plan.json or beside the record, differ in the seed
    alone. Where only the record is there, its columns decide; but runs of one seed whose columns agree must differ in
    something that no column tells, so then each of them is a setting.
    """
    plan = _planned(directory)
    stored = plan | _beside(records, plan, directory, places)
    keys: list[Keys] = [stored.get(r.fingerprint) or _from_columns(r) for r in records]
    known = [r.fingerprint in stored for r in records]
    _adopt_failed(records, keys, known)
    groups = _apart(records, list(zip(known, keys, strict=True)))
    by_keys = _further(keys)
    further = _with_epochs(records, groups, [by_keys[k] for k in keys])
    names = _names(records, groups, further)
    counts = Counter(plan.values())
    return [
        Setting(names[g], f, counts[k] if r.fingerprint in plan else None)
        for r, g, k, f in zip(records, groups, keys, further, strict=True)
    ]


def _planned(directory: Path | None) -> dict[str, Keys]:
    """{fingerprint: keys} of the plan; a damaged plan tells nothing here."""
    try:
        runs = planned_runs(directory) if directory else {}
    except RefusedError:
        return {}
    return {fingerprint: _keys(run["config"]) for fingerprint, run in runs.items()}


def _beside(
    records: Sequence[RunResult],
    known: Mapping[str, Keys],
    directory: Path | None,
    places: Sequence[str] | None,
) -> dict[str, Keys]:
    """{fingerprint: keys} of the config.yaml beside each record that is not known otherwise."""
    found: dict[str, Keys] = {}
    if directory is None or len(records) < 2:
        return found
    for r, place in zip(records, places or [place_of(r) for r in records], strict=True):
        where = run_directory(directory, place) if r.fingerprint not in known else None
        if where is not None and (config := stored_identity(directory, where)):
            found[r.fingerprint] = _keys(config)
    return found


def stored_identity(directory: Path, where: Path) -> dict[str, Any]:
    """What the config.yaml in a run's directory `where` says that is computed; empty where that is not there."""
    return _identity(_load(small_text(directory, where / "config.yaml")))


def _load(text: str) -> dict[str, Any]:
    """A config.yaml as we write it; empty for anything else."""
    if len(text) > _LARGEST_CONFIG or _ANCHOR.search(text):
        return {}
    try:
        config = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    return config if isinstance(config, dict) else {}


def _identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration without what changes only where or how fast it computes."""
    elsewhere = {key.name for key in all_keys() if not key.field.metadata["identity"]}
    return {
        k: {name: v for name, v in value.items() if f"{k}.{name}" not in elsewhere}
        if isinstance(value, dict)
        else value
        for k, value in config.items()
        if k not in elsewhere
    }


def _keys(config: Mapping[str, Any]) -> Keys:
    """Every dotted key that has a value, but the seed."""
    return tuple(sorted((key, text) for key, text in as_given(config).items() if key != "seed"))


def _from_columns(record: RunResult) -> Keys:
    values = {key: getattr(record, column) for key, column in _COLUMNS.items()}
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}
    return tuple(sorted((key, text) for key, text in texts.items() if text not in ("", "null")))


def _adopt_failed(records: Sequence[RunResult], keys: list[Keys], known: Sequence[bool]) -> None:
    """A failed run knows only what it was given: it joins the setting that agrees with all of that, if it is one."""
    ended: dict[Keys, set[Keys]] = defaultdict(set)
    for r, k, is_known in zip(records, keys, known, strict=True):
        if not is_known and r.status != "failed":
            ended[tuple(pair for pair in k if pair[0] in _NAMED)].add(k)
    for i, (r, k) in enumerate(zip(records, keys, strict=True)):
        if not known[i] and r.status == "failed":
            alike = [e for e in ended[tuple(pair for pair in k if pair[0] in _NAMED)] if set(k) <= set(e)]
            keys[i] = alike[0] if len(alike) == 1 else k


def _apart(records: Sequence[RunResult], groups: Sequence[Any]) -> list[Any]:
    """The groups, those divided in which a seed occurs twice: by epochs if that is enough, else into single runs."""
    divided: list[Any] = list(groups)
    for finer in ([r.epochs for r in records], range(len(records))):
        seeds = Counter((g, r.seed) for g, r in zip(divided, records, strict=True) if r.seed is not None)
        twice = {g for (g, _), n in seeds.items() if n > 1}
        divided = [(g, more) if g in twice else g for g, more in zip(divided, finer, strict=True)]
    return divided


def _further(keys: Iterable[Keys]) -> dict[Keys, str]:
    """For each configuration the keys that vary and no name has, as a text; by their last words where these differ."""
    different = list(dict.fromkeys(keys))
    values = defaultdict(set)
    for k in different:
        for key, text in k:
            values[key].add(text)
    everywhere = Counter(key for k in different for key, _ in k)
    vary = [
        key
        for key in values
        if not key.startswith("model.")
        and key not in _NAMED
        and (len(values[key]) > 1 or everywhere[key] < len(different))
    ]
    short = short_keys(vary)
    return {k: ", ".join(f"{short[key]}={text}" for key, text in k if key in short) for k in different}


def _with_epochs(records: Sequence[RunResult], groups: Sequence[Any], further: Sequence[str]) -> list[str]:
    """`further`, and a run's epochs where these alone tell groups of the same keys apart."""
    alike: dict[tuple[str, str], dict[Any, set[int | None]]] = defaultdict(lambda: defaultdict(set))
    for r, group, text in zip(records, groups, further, strict=True):
        alike[base_name(r), text][group].add(r.epochs)

    def told(r: RunResult, text: str) -> str:
        epochs = list(alike[base_name(r), text].values())
        differ = len(epochs) > 1 and all(len(n) == 1 for n in epochs) and len(set().union(*epochs)) == len(epochs)
        return ", ".join(filter(None, [text, f"epochs={r.epochs}"])) if differ else text

    return [told(r, text) for r, text in zip(records, further, strict=True)]


def _names(records: Sequence[RunResult], groups: Sequence[Any], further: Sequence[str]) -> dict[Any, str]:
    """{group: its name}, each a different one: where keys do not tell them apart, fingerprints or numbers do."""
    firsts = {group: i for i, group in reversed(list(enumerate(groups)))}
    plain = {g: " ".join(filter(None, [base_name(records[i]), further[i]])) for g, i in firsts.items()}
    for more in (lambda i: records[i].fingerprint[:8], lambda i: str(i + 1)):
        taken = Counter(plain.values())
        plain = {g: name if taken[name] == 1 else f"{name} ({more(firsts[g])})" for g, name in plain.items()}
    return plain


def base_name(record: Any) -> str:
    """`RMSprop mse 0.001 32/2/1`: what every setting's name begins with."""
    return f"{record.optimizer} {record.loss_func} {record.learning_rate:g} {architecture(record)}"


def architecture(record: Any) -> str:
    """`32/2/1`: channels, convolutions after the first, hidden dense layers; or `Net(width=8)`, one of the user's."""
    if record.network:
        name, bracket, arguments = record.network.partition("(")
        return name.rpartition(".")[2] + bracket + arguments
    sizes = (record.num_channels, record.num_conv, record.num_dense)
    return "/".join("?" if n is None else str(n) for n in sizes)
