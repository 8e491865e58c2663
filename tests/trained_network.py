"""A network that was trained on real MNIST, for tests in which it matters what a network says.

`predict/trained_on_mnist.npz` holds its 108,682 weights as float16. It is best.ckpt, of epoch 4 of 5, of

    python -m mnist_lightning optimizer=adam loss=cross_entropy model.num_channels=16 model.num_conv=3 \\
        model.num_dense=0 trainer.max_epochs=5 trainer.precision=32-true

(half an hour on a busy core); 99.14 % of MNIST's 10,000 test images are right. It has seen no image of
`drawn_digits.py`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from mnist_lightning import MNISTClassifier

_WEIGHTS = Path(__file__).parent / "predict" / "trained_on_mnist.npz"


def trained_checkpoint(directory: Path) -> Path:
    """Writes the network as a checkpoint such as ours; returns where."""
    sizes = {"num_channels": 16, "num_conv": 3, "num_dense": 0}
    with np.load(_WEIGHTS) as stored:
        weights = {name: torch.from_numpy(stored[name].astype(np.float32)) for name in stored.files}
    MNISTClassifier(**sizes).load_state_dict(weights)  # pyright: ignore[reportArgumentType] - sizes by name
    torch.save({"state_dict": weights, "hyper_parameters": sizes}, directory / "trained.ckpt")
    return directory / "trained.ckpt"
