"""Trains a group as one LightningModule: a stacked network, with each member's loss, optimizer and metrics."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor

from mnist_lightning.data.datasets import Batches, Dataset, Split, scale
from mnist_lightning.errors import RefusedError
from mnist_lightning.fused.capture import CapturedStep
from mnist_lightning.fused.losses import MemberLosses
from mnist_lightning.fused.members import Member
from mnist_lightning.fused.optimizers import StackedOptimizer
from mnist_lightning.fused.rows import Resident, Rows
from mnist_lightning.fused.stacked import StackedNet
from mnist_lightning.fused.writer import Writer, on_cpu
from mnist_lightning.numerics.metrics import METRICS
from mnist_lightning.numerics.model import ConvDenseNet
from mnist_lightning.numerics.one_pass import numbers_in_one_pass
from mnist_lightning.training.data_module import EVALUATION_BATCH
from mnist_lightning.training.fast_updates import COMPILED, is_worth_compiling
from mnist_lightning.training.record import Trained

# An evaluation's batch, in training batches: it keeps few outputs at a time, where training keeps them all, four times
EVALUATED_STEPS = 4
_CHECKPOINT_SHARE = 0.1  # of the time, at most, goes into the group's checkpoints


class FusedClassifier(L.LightningModule):
    """Trains G configurations of one architecture together on the same data.

    Each member sees the batches of its own seed, has its own loss, optimizer rule and learning rate, and leaves its
    own record, checkpoints and metrics.csv. A member whose loss is not finite ends with its epoch, as it would
    alone, and leaves the stack. Losses are summed, never averaged, so no member's gradient depends on another.
    """

    def __init__(self, members: Sequence[Member], dataset: Dataset, writer: Writer | None = None) -> None:
        super().__init__()
        self.automatic_optimization = False  # the step is ours, so that a GPU can capture it
        self.dataset, self.writer = dataset, writer or Writer(background=False)
        self.methods: dict[str, str] = {}  # those of a group that is gone on with
        self.group_size = len(members)
        self.train_seconds = 0.0
        self.val_accuracy: float | None = None  # of the last validated epoch, the best member's
        self.began = False  # the group's checkpoint, if there was one, has been restored
        self.checkpoint: Path | None = None  # where the group's state is kept between epochs
        self._saved_at, self._save_seconds = time.monotonic(), 0.0
        self._started, self._finishing = time.perf_counter(), 0.0  # seconds spent on single members' ends
        config = members[0].config
        seeds = list(dict.fromkeys(m.config.seed for m in members))
        sizes, shape = config.model, dataset.shape.arguments()
        of_seed = {  # drawn once, whoever begins with them
            seed: ConvDenseNet(sizes.num_channels, sizes.num_conv, sizes.num_dense, seed=seed, **shape)
            for seed in seeds
        }
        nets = [of_seed[m.config.seed] for m in members]
        self.rows = Rows(len(dataset.train), config.data.batch_size, seeds)
        self._stack(list(members), StackedNet(nets))

    def _stack(self, members: list[Member], net: StackedNet) -> None:
        self.members, self.net = members, net
        self.optimizer = StackedOptimizer([m.config for m in members], list(net.parameters()))
        self.losses = MemberLosses([m.config.loss for m in members])
        self.order_of_member = [self.rows.seeds.index(m.config.seed) for m in members]
        self.best: dict[str, Tensor] = {}
        self.register_buffer("train_sums", torch.zeros(len(METRICS), len(members), dtype=torch.float64))
        self.captured = CapturedStep(self.step)

    # --- training

    def train_dataloader(self) -> Rows:
        return self.rows

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        return []  # the stacked one is no torch optimizer

    def on_fit_start(self) -> None:
        self.rows.device = self.device
        self.resident = Resident(self.dataset, self.device)
        self.images, self.labels = self.resident(self.dataset.train)
        self._place()
        if self.device.type == "cuda":
            self._choose_methods()

    def _place(self) -> None:
        """Moves what is neither a parameter nor a buffer to their device."""
        self.member_order = torch.tensor(self.order_of_member, device=self.device)
        dtype = next(self.net.parameters()).dtype
        mixed = self._mixed() and dtype == torch.float32
        if self.device.type == "cpu":
            one = numbers_in_one_pass(p[0] for p in self.net.parameters())  # decided as of each member alone
            if is_worth_compiling(self.trainer, one) and self.optimizer.in_one_pass(dtype, low=mixed) and mixed:
                self.net.round()
            self.net.split()
        elif mixed:
            self.net.round()
        self._begin_best()
        self.best = {name: value.to(self.device) for name, value in self.best.items()}

    def _begin_best(self) -> None:
        if not self.best and self.members[0].keeps_checkpoints:
            self.best = {name: p.detach().clone() for name, p in self.net.named_parameters()}

    def _choose_methods(self) -> None:
        if self.methods:  # as before the interrupt: another method rounds otherwise
            self.net.take_methods(self.methods)
            return
        rows = next(iter(self.rows))
        with self._autocast():
            self.methods = self.net.choose_methods(self._batch(rows)[0])

    def on_train_start(self) -> None:
        self.began = True
        for member in self.members:
            member.run_log.begin(self.current_epoch * len(self.rows))

    def on_train_epoch_start(self) -> None:
        self.train_sums.zero_()
        self._epoch_started = time.perf_counter()

    def training_step(self, rows: Tensor, batch_idx: int) -> None:
        """Updates every member from the rows [S, N], on a GPU by replaying a captured step."""
        self.captured(rows)

    def _batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Cuts images [N,1,28,28] and labels [N] that all members see, or [G,N,1,28,28] and [G,N] of several seeds."""
        images, labels = self.images[rows], self.labels[rows]  # [S,N,1,28,28]
        if len(rows) == 1:
            images, labels = images[0], labels[0]
        else:
            images, labels = images[self.member_order], labels[self.member_order]
        return scale(images, self.dtype), labels  # pyright: ignore[reportArgumentType] - Lightning's dtype may be a string

    def step(self, rows: Tensor) -> None:
        """Updates every member once, from the rows [S, N] of the training set."""
        images, labels = self._batch(rows)
        wanted = self.net.differentiable()
        with self._autocast():
            logits = self.net(images)  # [G,N,K]
        with torch.autocast(self.device.type, enabled=False):
            outcome, begun = self.losses.differentiated(logits, labels, self.train_sums)
            flat = iter(torch.autograd.grad(outcome, [x for xs in wanted for x in xs], begun))
            gradients = [[next(flat) for _ in xs] for xs in wanted]
            parameters = list(self.net.parameters())
            whole = [g[0] if g[0].shape == p.shape else g for g, p in zip(gradients, parameters, strict=True)]
            self.optimizer.update(parameters, whole, self.net.low())

    def _autocast(self) -> torch.autocast:
        # without its cache of cast weights, which would outlive the graph that made them
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self._mixed(), cache_enabled=False)

    def _mixed(self) -> bool:
        return str(self.trainer.precision) == "bf16-mixed"

    # --- between epochs

    def on_train_epoch_end(self) -> None:
        epoch = self.current_epoch + 1
        train = self.train_sums / len(self.dataset.train)
        finite = torch.isfinite(train[0]).tolist()  # waits for the device
        self.train_seconds += time.perf_counter() - self._epoch_started
        every = self.trainer.check_val_every_n_epoch or 1
        validated = epoch % every == 0
        val = self.evaluate(self.dataset.val)[0].cpu() if validated else None
        self._log(epoch, train.cpu(), val)
        if val is not None:
            self.val_accuracy = val[METRICS.index("accuracy")].max().item()
            self._keep_best(epoch, val[0].tolist())
        for g in [g for g, ok in enumerate(finite) if not ok]:
            self.writer(self._ended(g, epoch, True))
        if not all(finite):
            self._drop([g for g, ok in enumerate(finite) if ok])
        if epoch < (self.trainer.max_epochs or 0) and self.members:
            self._save_if_due()

    def _log(self, epoch: int, train: Tensor, val: Tensor | None) -> None:
        step = epoch * len(self.rows) - 1
        for g, member in enumerate(self.members):
            own = train[:, g].tolist(), val[:, g].tolist() if val is not None else None
            self.writer(partial(member.log, epoch, step, *own))

    def _keep_best(self, epoch: int, losses: list[float]) -> None:
        for g, (member, loss) in enumerate(zip(self.members, losses, strict=True)):
            if loss < member.best_loss:
                member.best_loss, member.best_epoch = loss, epoch
            elif member.best_epoch is not None or epoch > 1:  # the first is kept, whatever its loss
                continue
            for name, p in self.net.named_parameters():
                if name in self.best:
                    self.best[name][g].copy_(p[g].detach())

    def _drop(self, kept: list[int]) -> None:
        """Goes on with the members `kept` alone."""
        if not kept:
            self.members = []
            self.trainer.should_stop = True
            return
        index = torch.tensor(kept, device=self.device)
        states, step, best = [self.optimizer.member_state(g) for g in kept], self.optimizer.step, self.best
        for layer in self.net.layers():
            layer.keep(index)
        self._stack([self.members[g] for g in kept], self.net)
        self.optimizer.to(self.device)
        self.train_sums = self.train_sums.to(self.device)
        self.optimizer.step.copy_(step)
        for g, state in enumerate(states):
            for name, value in self.optimizer.member_state(g).items():
                value.copy_(state[name])
        self.best = {name: value[index] for name, value in best.items()}
        self._place()

    def on_train_end(self) -> None:
        final = self._final(slice(None)) if self.device.type != "cpu" else None  # all at once; on a CPU in the cache
        self.writer.together(self._ended(g, self.current_epoch, False, final) for g in range(len(self.members)))

    def _final(self, part: slice) -> dict[str, Tensor]:
        """Evaluates some members on the whole splits: METRICS float64 [5, G'] of each, and the test images' logits."""
        train, _ = self.evaluate(self.dataset.train, part)
        test, logits = self.evaluate(self.dataset.test, part, keep=True)
        same = self.dataset.val is self.dataset.test
        val = test if same else self.evaluate(self.dataset.val, part)[0]
        return {"train": train.cpu(), "val": val.cpu(), "test": test.cpu(), "logits": logits.cpu()}

    def _ended(self, g: int, epochs: int, diverged: bool, final: dict[str, Tensor] | None = None) -> Callable[[], None]:
        """Evaluates a member that has ended; returns what stores it, which is still to be done."""
        began = time.perf_counter()
        shared = (began - self._started - self._finishing) / self.group_size
        at = g if final else 0
        final = final or self._final(slice(g, g + 1))
        scores = {
            split: dict(zip(METRICS, final[split][:, at].tolist(), strict=True)) for split in ("train", "val", "test")
        }
        own = self._tensors_of(g)
        if diverged and self.writer.background:
            own = on_cpu(own)  # nothing is read from a GPU beside a training
        trained = Trained(
            train=scores["train"],
            val=scores["val"],
            test=scores["test"],
            test_logits=final["logits"][:, at],
            epochs=epochs,
            best_epoch=self.members[g].best_epoch,
            diverged=diverged,
            num_parameters=sum(p.numel() for p in own["weights"].values()),
            # each member's share of the training, and its own evaluation: the sum over a sweep is the time it took
            seconds=shared + time.perf_counter() - began,
            samples_per_second=epochs * len(self.dataset.train) * self.group_size / max(self.train_seconds, 1e-9),
            precision=str(self.trainer.precision),
            device=self.trainer.strategy.root_device,
            engine="fused",
            group_size=self.group_size,
            update=COMPILED * self.optimizer.compiled[g],
        )
        self._finishing += time.perf_counter() - began
        return partial(self._store, self.members[g], trained, own, epochs * len(self.rows))

    def _store(self, member: Member, trained: Trained, own: dict[str, dict[str, Tensor]], steps: int) -> None:
        began = time.perf_counter()
        member.finish(trained, self.dataset, own["weights"], own["best"], steps=steps)
        if not self.writer.background:
            self._finishing += time.perf_counter() - began

    # --- evaluation

    @torch.no_grad()
    def evaluate(self, split: Split, members: slice | None = None, *, keep: bool = False) -> tuple[Tensor, Tensor]:
        """Returns the members' METRICS on a split, float64 [5, G], and, to `keep`, logits float32 [images, G, K].

        On a GPU all members at once, on images that stay there; on a CPU as many as a training step's outputs allow.
        """
        chosen = range(len(self.members))[members or slice(None)]
        at_once, batch = len(chosen), EVALUATED_STEPS * self.rows.batch_size
        if self.device.type == "cpu":
            at_once, batch = max(1, len(self.members) * self.rows.batch_size // EVALUATION_BATCH), EVALUATION_BATCH
        parts = [slice(i, min(i + at_once, chosen.stop)) for i in range(chosen.start, chosen.stop, at_once)]
        with self._autocast():
            metrics, logits = zip(*(self._evaluate_part(split, part, batch, keep) for part in parts), strict=True)
        return torch.cat(metrics, dim=1), torch.cat(logits, dim=1)

    def _evaluate_part(self, split: Split, part: slice, batch: int, keep: bool) -> tuple[Tensor, Tensor]:
        losses = MemberLosses([m.config.loss for m in self.members[part]])
        sums = torch.zeros(len(METRICS), part.stop - part.start, dtype=torch.float64, device=self.device)
        kept = [torch.empty(part.stop - part.start, 0, self.dataset.shape.num_classes, device=self.device)]
        for images, labels in Batches(Split(*self.resident(split)), batch):
            seen = scale(images, self.dtype)  # pyright: ignore[reportArgumentType] - as above
            logits = self.net.part(part, seen)  # [G,N,K]
            losses.add_scores(logits, labels, sums)
            kept += [logits.float()] * keep
        return sums / len(split), torch.cat(kept, dim=1).transpose(0, 1)

    # --- the group's checkpoint

    def _save_if_due(self) -> None:
        if self.checkpoint is None or time.monotonic() - self._saved_at < self._save_seconds / _CHECKPOINT_SHARE:
            return
        started = time.monotonic()
        self.trainer.save_checkpoint(self.checkpoint)
        self.writer(partial(self._saved, started))

    def _saved(self, started: float) -> None:
        self._saved_at = time.monotonic()
        self._save_seconds = self._saved_at - started

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # by member, not by stack: fewer members may go on than have begun
        checkpoint["state_dict"] = {}
        checkpoint["methods"] = self.net.methods()
        checkpoint["step"], checkpoint["train_seconds"] = int(self.optimizer.step), self.train_seconds
        checkpoint["members"] = {
            m.config.fingerprint: self._tensors_of(g) | {"best_loss": m.best_loss, "best_epoch": m.best_epoch}
            for g, m in enumerate(self.members)
        }

    @torch.no_grad()
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._begin_best()
        self.optimizer.step.fill_(checkpoint["step"])
        self.train_seconds = float(checkpoint["train_seconds"])
        self.methods = checkpoint.get("methods", {})  # of older versions: chosen anew
        for g, member in enumerate(self.members):
            stored = checkpoint["members"][member.config.fingerprint]
            member.best_loss, member.best_epoch = float(stored["best_loss"]), stored["best_epoch"]
            for kind, tensors in self._tensors_of(g).items():
                if stored[kind].keys() != tensors.keys():
                    raise RefusedError("the group's checkpoint is of other networks; delete it")
                for name, tensor in tensors.items():
                    tensor.copy_(stored[kind][name])
        checkpoint["state_dict"] = self.state_dict()

    def _tensors_of(self, g: int) -> dict[str, dict[str, Tensor]]:
        """Member g's parts of the weights, the best weights and the optimizer's state, as views."""
        return {
            "weights": {name: p[g].detach() for name, p in self.net.named_parameters()},
            "best": {name: p[g] for name, p in self.best.items()},
            "state": self.optimizer.member_state(g),
        }
