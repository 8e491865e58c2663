"""The keys under `trainer.`: two of our own, then every argument of `lightning.Trainer` in our words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from mnist_lightning.config.section import Section, documented, key
from mnist_lightning.errors import Problem

PRECISIONS = ("auto", "32-true", "64-true", "bf16-mixed", "bf16-true", "16-mixed", "16-true")
_PRECISION_SHORT = {"64": "64-true", "32": "32-true", "16": "16-mixed", "bf16": "bf16-mixed"}
# Several processes for a network of a few thousand weights would only wait for each other
_ONE_DEVICE, _SIDE_BY_SIDE = "one run trains on one device", "leave it out; runs go side by side by hydra/launcher"


@documented
@dataclass
class TrainerConfig(Section):
    """`lightning.Trainer`'s arguments, all of them but `logger` and `callbacks`; null is Lightning's default.

    >>> TrainerConfig(max_epochs=2, precision="32").arguments()["precision"]
    '32-true'
    """

    prefix = "trainer."

    max_epochs: int = key(
        20, "how many times each training image is seen", low=1, also="epochs num_epochs n_epochs epoch"
    )
    precision: str = key(
        "auto", "number format; auto is bf16-mixed on hardware made for it, else 32-true", choices=PRECISIONS
    )
    accelerator: Any = key("auto", "cpu, gpu, ...; auto is a GPU if there is one", identity=False)
    devices: Any = key("auto", "1, or [2] for the third; a run uses one device", identity=False)
    strategy: Any = key(None, "auto, or {_target_: class} for one device; a run uses one", identity=False)
    num_nodes: Any = key(None, "1; a run uses one machine", identity=False)
    fast_dev_run: bool | int | None = key(
        None, "train on n batches only (true: 1), without checkpoints and curve; scores are of whole sets"
    )
    min_epochs: int | None = key(None, "no callback ends training before this epoch", low=0)
    max_steps: int | None = key(None, "stop after n updates; -1 is no limit", low=-1)
    min_steps: int | None = key(None, "no callback ends training before this update", low=0)
    max_time: Any = key(None, "stop after DD:HH:MM:SS (days to seconds)")
    limit_train_batches: int | float | None = key(None, "train on n batches an epoch; 0.1 is a tenth", above=0)
    limit_val_batches: int | float | None = key(None, "validate on n batches; 0.1 is a tenth", low=0)
    limit_test_batches: int | float | None = key(None, "of no effect here: the final scores are of whole sets", above=0)
    limit_predict_batches: int | float | None = key(None, "of no effect here: nothing is predicted in training", low=0)
    overfit_batches: int | float | None = key(
        None, "train and validate on the same n batches; a network that works learns them by heart", low=0
    )
    val_check_interval: Any = key(None, "validate every n batches; 0.1 is a tenth")
    check_val_every_n_epoch: int | None = key(None, "validate only after every n-th epoch", low=1)
    num_sanity_val_steps: int | None = key(
        None, "validation batches tried first; null is 0, -1 all", low=-1, identity=False
    )
    log_every_n_steps: int | None = key(None, "batches between two logged values", low=0, identity=False)
    enable_checkpointing: bool | None = key(None, "save last.ckpt and best.ckpt; null is true", identity=False)
    enable_progress_bar: bool | None = key(
        None, "Lightning's own progress bar instead of ours; null is false", identity=False
    )
    enable_model_summary: bool | None = key(None, "print the layers first; null is false", identity=False)
    accumulate_grad_batches: int | None = key(None, "sum the gradients of n batches for an update", low=1)
    gradient_clip_val: float | None = key(None, "cut larger gradients down to this", low=0)
    gradient_clip_algorithm: Any = key(None, "what is cut: norm (of all) or value (of each)")
    deterministic: Any = key(None, "only repeatable algorithms: true, or warn", identity=False)
    benchmark: bool | None = key(None, "let cuDNN try which algorithm is fastest", identity=False)
    inference_mode: bool | None = key(None, "evaluate in torch's inference mode; false is no_grad", identity=False)
    use_distributed_sampler: Any = key(None, "each process gets a part of the data", identity=False)
    profiler: Any = key(None, "where the time goes: simple, advanced or pytorch", identity=False)
    detect_anomaly: Any = key(None, "stop where a gradient becomes NaN; slow", identity=False)
    barebones: Any = key(None, "leave out all extras that cost time", identity=False)
    plugins: Any = key(None, "parts of Lightning to replace, {_target_: class, ...}", identity=False)
    sync_batchnorm: Any = key(None, "batch normalisation over all devices", identity=False)
    reload_dataloaders_every_n_epochs: Any = key(None, "make the data loaders anew every n epochs", identity=False)
    default_root_dir: Any = key(None, "for Lightning's own files; null is the run's", identity=False)
    enable_autolog_hparams: Any = key(None, "tell the logger the configuration", identity=False)
    model_registry: Any = key(None, "name in Lightning's online model registry", identity=False)

    def problems(self) -> list[Problem]:
        """All problems of the values; short names of a precision, such as 32, become the long ones."""
        self.precision = _PRECISION_SHORT.get(str(self.precision), self.precision)
        return super().problems()

    @classmethod
    def problems_of(cls, values: Mapping[str, Any]) -> list[Problem]:
        """The problems of each value, of what needs several devices, and of fewest epochs above the most."""
        problems = super().problems_of(values)
        if values["num_nodes"] not in (None, 1):
            problems.append(Problem("trainer.num_nodes", values["num_nodes"], _ONE_DEVICE, _SIDE_BY_SIDE))
        if isinstance(values["strategy"], str) and values["strategy"] != "auto":
            problems.append(Problem("trainer.strategy", values["strategy"], _ONE_DEVICE, _SIDE_BY_SIDE))
        deterministic, least, most = (values[k] for k in ("deterministic", "min_epochs", "max_epochs"))
        if deterministic not in (None, True, False, "warn"):
            problems.append(Problem("trainer.deterministic", deterministic, "unknown", "use true, false or warn"))
        time = values["max_time"]
        if isinstance(time, (str, int, float)) and not re.fullmatch(r"\s*\d+:\d\d:\d\d:\d\d\s*", str(time)):
            problems.append(Problem("trainer.max_time", time, "not DD:HH:MM:SS", "use 00:01:30:00 for 90 minutes"))
        if not problems and (least or 0) > most:
            problems.append(Problem("trainer.min_epochs", least, "too large", f"use at most trainer.max_epochs={most}"))
        return problems

    def arguments(self) -> dict[str, Any]:
        """The arguments that were set, for `lightning.Trainer(**arguments)`."""
        return {f.name: v for f in fields(self) if (v := getattr(self, f.name)) is not None}
