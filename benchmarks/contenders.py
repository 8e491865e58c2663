"""The contenders: ordinary training programs, each calling `gate` at the start of every batch.

The gate is what a measurement hooks into: it counts the steps, and raises `Finished` when it has enough. Before
training a contender calls `gate.ready(facts)`. None draws a progress bar, validates or saves checkpoints: only
training steps are compared, with everything that happens at each of them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Protocol

from benchmarks.common import BATCH, CLASSES, LEARNING_RATE, RAW_FILES, SIDE, Net

EPOCHS = 10_000  # without end: the gate stops the training
LOG_INTERVAL = 10  # steps, as in pytorch/examples


class Finished(BaseException):
    """The measurement has what it wants. No Exception: a training loop must not catch it."""


class Gate(Protocol):
    def ready(self, facts: dict[str, Any]) -> None: ...
    def __call__(self) -> None: ...


def keras(net: Net, optimizer: str, root: Path, gate: Gate) -> None:
    """The study's script: a Sequential model, `fit` on float32 arrays. Needs numpy and tensorflow, not torch."""
    import numpy as np
    import tensorflow as tf  # pyright: ignore[reportMissingModuleSource] - in an interpreter of its own

    def read(name: str, header: int) -> Any:
        return np.frombuffer((root / "MNIST" / "raw" / name).read_bytes(), np.uint8, offset=header)

    k: Any = tf.keras
    images = read(RAW_FILES[0], 16).reshape(-1, SIDE, SIDE, 1).astype("float32") / 255.0
    labels = k.utils.to_categorical(read(RAW_FILES[1], 8), CLASSES)
    model = k.models.Sequential([k.Input((SIDE, SIDE, 1))])
    for i, (_, filters, _) in enumerate(net.convolutions()):
        model.add(k.layers.Conv2D(filters, (3, 3), activation="relu", padding="same"))
        if i > 0:
            model.add(k.layers.MaxPooling2D((2, 2)))
    model.add(k.layers.Flatten())
    for _, units in net.denses()[:-1]:
        model.add(k.layers.Dense(units, activation="relu"))
    model.add(k.layers.Dense(CLASSES, activation="softmax"))
    kind = {"adam": k.optimizers.Adam, "sgd": k.optimizers.SGD, "rmsprop": k.optimizers.RMSprop}[optimizer]
    model.compile(optimizer=kind(learning_rate=LEARNING_RATE), loss="mse", metrics=["accuracy"])

    class Hook(k.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            gate()

    compiled = {True: "XLA", False: "no XLA"}.get(model.jit_compile, "")
    facts = {"precision": "float32", "compiler": compiled, "parameters": model.count_params()}
    gate.ready({**facts, "tensorflow": tf.__version__, "keras": k.__version__})
    model.fit(images, labels, epochs=EPOCHS, batch_size=BATCH, verbose=0, callbacks=[Hook()])


def _torch_net(net: Net) -> Any:
    """The network as one would write it: torch's initial weights, ReLU after every layer, softmax at the end."""
    from torch import nn

    layers: list[nn.Module] = []
    for i, (before, after, _) in enumerate(net.convolutions()):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), *([nn.MaxPool2d(2)] if i > 0 else [])]
    layers.append(nn.Flatten())
    for before, after in net.denses():
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1], nn.Softmax(dim=1))


def _torch_optimizer(name: str, parameters: Any) -> Any:
    from torch import optim

    return {"adam": optim.Adam, "sgd": optim.SGD, "rmsprop": optim.RMSprop}[name](parameters, lr=LEARNING_RATE)


def _squared_error(outputs: Any, labels: Any) -> Any:
    from torch.nn import functional

    return functional.mse_loss(outputs, functional.one_hot(labels, CLASSES).float())


def plain_torch(net: Net, optimizer: str, root: Path, gate: Gate) -> None:
    """In the manner of pytorch/examples: DataLoader, torchvision's transforms, a loop that looks at the loss."""
    import torch
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    loader = DataLoader(datasets.MNIST(str(root), train=True, transform=transform), batch_size=BATCH, shuffle=True)
    model = _torch_net(net).train()
    rule = _torch_optimizer(optimizer, model.parameters())
    gate.ready({"precision": "32-true", "threads": torch.get_num_threads()})
    seen = 0.0
    for _ in range(EPOCHS):
        for step, (images, labels) in enumerate(loader):
            gate()
            rule.zero_grad()
            loss = _squared_error(model(images), labels)
            loss.backward()
            rule.step()
            if step % LOG_INTERVAL == 0:
                seen += loss.item()


def plain_lightning(net: Net, optimizer: str, root: Path, gate: Gate) -> None:
    """As in a tutorial: a LightningModule that logs loss and accuracy at each step, a DataLoader, the Trainer."""
    import lightning as L
    import torch
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    class Tutorial(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = _torch_net(net)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            images, labels = batch
            outputs = self.model(images)
            loss = _squared_error(outputs, labels)
            self.log("train_loss", loss)
            self.log("train_accuracy", (outputs.argmax(dim=1) == labels).float().mean())
            return loss

        def configure_optimizers(self) -> Any:
            return _torch_optimizer(optimizer, self.parameters())

    loader = DataLoader(
        datasets.MNIST(str(root), train=True, transform=transforms.ToTensor()), batch_size=BATCH, shuffle=True
    )
    with tempfile.TemporaryDirectory(prefix="benchmark-") as temporary:
        trainer = L.Trainer(
            max_epochs=EPOCHS,
            accelerator="cpu",
            callbacks=[_gate_callback(gate)],
            default_root_dir=temporary,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
        )
        gate.ready({"precision": str(trainer.precision), "threads": torch.get_num_threads()})
        trainer.fit(Tutorial(), loader)


def ours(net: Net, optimizer: str, root: Path, gate: Gate, precision: str = "auto") -> None:
    """This library, in an ordinary Trainer of its own."""
    import torch

    from mnist_lightning.config import DataConfig, ModelConfig, OptimizerConfig, RunConfig, TrainerConfig
    from mnist_lightning.training.data_module import MNISTDataModule
    from mnist_lightning.training.lightning_modules import MNISTClassifier
    from mnist_lightning.training.runtime import flushed_denormals, keep_memory, quiet_lightning
    from mnist_lightning.training.trainer import build_trainer

    config = RunConfig(
        optimizer=OptimizerConfig(optimizer),
        lr=LEARNING_RATE,
        model=ModelConfig(*net),
        data=DataConfig(root=str(root), batch_size=BATCH, download=False),
        trainer=TrainerConfig(
            max_epochs=EPOCHS,
            precision=precision,
            accelerator="cpu",
            limit_val_batches=0,
            enable_checkpointing=False,
            enable_progress_bar=False,
        ),
    )
    keep_memory()
    with quiet_lightning(), flushed_denormals(), tempfile.TemporaryDirectory(prefix="benchmark-") as temporary:
        module, data = MNISTClassifier.from_config(config), MNISTDataModule.from_config(config)
        # not by a callback, which would be one that the training does not know
        data.on_before_batch_transfer = lambda batch, dataloader_idx: (gate(), batch)[1]
        trainer = build_trainer(config, Path(temporary))
        gate.ready({"precision": str(trainer.precision), "threads": torch.get_num_threads()})
        trainer.fit(module, data)


def ours_32(net: Net, optimizer: str, root: Path, gate: Gate) -> None:
    ours(net, optimizer, root, gate, precision="32-true")


def _gate_callback(gate: Gate) -> Any:
    from lightning.pytorch.callbacks import Callback

    class Hook(Callback):
        def on_train_batch_start(self, *arguments: Any, **named: Any) -> None:
            gate()

    return Hook()


def _matmul(gate: Gate, dtype_name: str) -> None:
    import torch

    dtype = getattr(torch, dtype_name)
    a, b = (torch.randn(MATMUL_SIDE, MATMUL_SIDE).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    gate.ready({"precision": dtype_name, "threads": torch.get_num_threads()})
    while True:
        gate()
        torch.mm(a, b, out=out)


MATMUL_SIDE = 1536  # three float32 matrices of 9 MB: large enough for the full rate, 7.2 GFLOP a step


def matmul_32(net: Net, optimizer: str, root: Path, gate: Gate) -> None:
    """The rate of arithmetic this machine gives a large matrix product, one product a step."""
    _matmul(gate, "float32")


def matmul_bf16(net: Net, optimizer: str, root: Path, gate: Gate) -> None:
    _matmul(gate, "bfloat16")


CONTENDERS = {
    "keras": keras,
    "plain-torch": plain_torch,
    "lightning": plain_lightning,
    "ours-32": ours_32,
    "ours": ours,
    "before-32": ours_32,  # of another checkout
    "before": ours,
    "matmul-32": matmul_32,
    "matmul-bf16": matmul_bf16,
}
