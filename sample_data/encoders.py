"""What the sample embeddings and the study share: images, augmentations, the encoder, training."""

from __future__ import annotations

import gzip
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
"""Names of the classes 0 to 9 of Fashion-MNIST."""


def read_idx(path: Path) -> np.ndarray:
    """Read a gzipped IDX file of unsigned bytes (http://yann.lecun.com/exdb/mnist format)."""
    data = gzip.decompress(path.read_bytes())
    n_dims = data[3]
    shape = tuple(int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(n_dims))
    return np.frombuffer(data, dtype=np.uint8, offset=4 + 4 * n_dims).reshape(shape)


def load_images(folder: Path, split: str) -> tuple[Tensor, np.ndarray]:
    """Images as floats in [0, 1], shape (n, 1, 28, 28), and their integer labels."""
    images = read_idx(folder / f"{split}-images-idx3-ubyte.gz")
    labels = read_idx(folder / f"{split}-labels-idx1-ubyte.gz")
    return torch.from_numpy(images.astype(np.float32) / 255.0).unsqueeze(1), labels.astype(np.int64)


def first_of_each_class(labels: np.ndarray, n: int) -> np.ndarray:
    """Where the first `n` images of every class are, in order."""
    return np.sort(np.concatenate([np.flatnonzero(labels == c)[:n] for c in np.unique(labels)]))


def augment(images: Tensor, generator: torch.Generator, flip: bool = True) -> Tensor:
    """Random resized crop (area .7-1, aspect .9-1.11), flip, brightness and gamma of +-.2."""
    n = len(images)

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(n, generator=generator) * (high - low) + low

    area = uniform(0.7, 1.0)
    aspect = torch.exp(uniform(math.log(0.9), math.log(1.0 / 0.9)))
    width = (area * aspect).sqrt().clamp(max=1.0)
    height = (area / aspect).sqrt().clamp(max=1.0)
    side = torch.where(torch.rand(n, generator=generator) < 0.5, -1.0, 1.0) if flip else 1.0
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = width * side
    theta[:, 1, 1] = height
    theta[:, 0, 2] = uniform(-1.0, 1.0) * (1.0 - width)
    theta[:, 1, 2] = uniform(-1.0, 1.0) * (1.0 - height)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    views = F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    brightness = uniform(0.8, 1.2).view(n, 1, 1, 1)
    gamma = uniform(0.8, 1.2).view(n, 1, 1, 1)
    return (views.clamp(min=0.0).pow(gamma) * brightness).clamp(0.0, 1.0)


class Encoder(nn.Module):
    """Four convolutions, average pool, and a two-layer head onto the unit sphere of R^64."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 1
        for width, stride in ((16, 2), (32, 2), (64, 1), (64, 2)):
            layers += [
                nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]
            channels = width
        self.backbone = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64))

    def forward(self, images: Tensor) -> Tensor:
        return F.normalize(self.head(self.backbone(images)), dim=1)


def train(
    encoder: nn.Module,
    images: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    epochs: int,
    batch: int,
    generator: torch.Generator,
    flip: bool = True,
    told: Callable[[str], None] | None = None,
) -> None:
    """AdamW at 2e-3 with a one-cycle schedule; `loss` takes the embeddings of two views."""
    optimiser = torch.optim.AdamW(encoder.parameters(), lr=2e-3, weight_decay=1e-4)
    steps = len(images) // batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=epochs * steps)
    for epoch in range(epochs):
        started = time.perf_counter()
        order = torch.randperm(len(images), generator=generator)
        total = 0.0
        for step in range(steps):
            part = images[order[step * batch : (step + 1) * batch]]
            view1 = encoder(augment(part, generator, flip))
            view2 = encoder(augment(part, generator, flip))
            value = loss(view1, view2)
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
            schedule.step()
            total += value.item()
        seconds = time.perf_counter() - started
        if told is not None:
            told(f"epoch {epoch + 1}/{epochs} {total / steps:.4f} {seconds:.1f}s")
    encoder.eval()


@torch.no_grad()
def apply(network: nn.Module, images: Tensor) -> np.ndarray:
    """What `network` makes of the images, 1,000 at a time, as float32."""
    return torch.cat([network(part) for part in images.split(1000)]).numpy()
