"""A network of ours."""

from torch import Tensor, nn


class Wide(nn.Module):
    """One hidden layer of `width` units: images [N, 1, 28, 28] from 0 to 1 -> logits [N, 10]."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, width), nn.GELU(), nn.Linear(width, 10))

    def forward(self, images: Tensor) -> Tensor:
        """Computes the logits."""
        return self.layers(images)
