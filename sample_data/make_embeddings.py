"""Train the encoders behind the sample embeddings, and save what they see.

One small convolutional encoder per temperature is trained on 10,000 Fashion-MNIST images with the
NT-Xent loss (Chen et al., ICML 2020: symmetric, positive in the denominator, 2B - 2 in-batch
negatives), and one more at temperature 1 that keeps only the top 10% of each anchor's negatives
(the hard contrastive loss of Wang & Liu, CVPR 2021, eqs. 8-9).  Each encoder then embeds the same
2,000 test images: once clean, and twice augmented.

    python sample_data/make_embeddings.py                # every run, one process per core
    python sample_data/make_embeddings.py --only tau-0.2 --images /path/to/fashion-mnist

Runs are deterministic (one thread, fixed seed) and resumable: a file that exists is kept, and each
file appears whole or not at all.  About two minutes per run on one core.
"""

from __future__ import annotations

import argparse
import gzip
import math
import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

HERE = Path(__file__).resolve().parent
IMAGES = Path("/usr/share/datasets/fashion-mnist")
TEMPERATURES = (0.07, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
N_TRAIN = 10_000
TEST_ROWS_PER_CLASS = 200
BATCH = 512
EPOCHS = 30
SEED = 0


@dataclass(frozen=True)
class Run:
    """One encoder: the loss's temperature and, for the hard loss, the share of negatives kept."""

    tau: float
    hard_alpha: float | None = None

    @property
    def name(self) -> str:
        prefix = "fashion-mnist-" if self.hard_alpha is None else "fashion-mnist-hard-"
        return f"{prefix}tau-{self.tau}"


RUNS = (*(Run(tau) for tau in TEMPERATURES), Run(1.0, hard_alpha=0.1))


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


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Random resized crop (area .7-1, aspect .9-1.11), flip, brightness and gamma of +-.2."""
    n = len(images)

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(n, generator=generator) * (high - low) + low

    area = uniform(0.7, 1.0)
    aspect = torch.exp(uniform(math.log(0.9), math.log(1.0 / 0.9)))
    width = (area * aspect).sqrt().clamp(max=1.0)
    height = (area / aspect).sqrt().clamp(max=1.0)
    flip = torch.where(torch.rand(n, generator=generator) < 0.5, -1.0, 1.0)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = width * flip
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


def contrastive_loss(view1: Tensor, view2: Tensor, run: Run) -> Tensor:
    """NT-Xent over 2B anchors; with `hard_alpha`, only each anchor's nearest negatives count."""
    z = torch.cat([view1, view2])
    batch = len(view1)
    logits = (z @ z.T) / run.tau
    index = torch.arange(2 * batch)
    partner = (index + batch) % (2 * batch)
    positive = logits[index, partner]
    negatives = logits.masked_fill(torch.eye(2 * batch, dtype=torch.bool), -math.inf)
    negatives[index, partner] = -math.inf
    if run.hard_alpha is not None:
        kept = max(1, math.ceil(run.hard_alpha * (2 * batch - 2) - 1e-9))
        negatives = negatives.topk(kept, dim=1).values
    both = torch.cat([positive.unsqueeze(1), negatives], dim=1)
    return (torch.logsumexp(both, dim=1) - positive).mean()


def train(run: Run, images: Tensor) -> Encoder:
    """Train one encoder; the seed fixes the initial weights, the batches and the augmentations."""
    torch.manual_seed(SEED)
    generator = torch.Generator().manual_seed(SEED + 1)
    encoder = Encoder()
    optimiser = torch.optim.AdamW(encoder.parameters(), lr=2e-3, weight_decay=1e-4)
    steps = len(images) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=EPOCHS * steps)
    for epoch in range(EPOCHS):
        started = time.perf_counter()
        order = torch.randperm(len(images), generator=generator)
        total = 0.0
        for step in range(steps):
            batch = images[order[step * BATCH : (step + 1) * BATCH]]
            view1 = encoder(augment(batch, generator))
            view2 = encoder(augment(batch, generator))
            loss = contrastive_loss(view1, view2, run)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item()
        seconds = time.perf_counter() - started
        print(
            f"{run.name} epoch {epoch + 1}/{EPOCHS} {total / steps:.4f} {seconds:.1f}s", flush=True
        )
    return encoder.eval()


@torch.no_grad()
def embed(encoder: Encoder, images: Tensor) -> np.ndarray:
    return torch.cat([encoder(part) for part in images.split(1000)]).numpy().astype(np.float16)


def make(run: Run, images: Path, out: Path) -> Path:
    """Train `run` and write its .npz, under a temporary name first: a killed run leaves none."""
    path = out / f"{run.name}.npz"
    if path.exists():
        return path
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    train_images, _ = load_images(images, "train")
    test_images, test_labels = load_images(images, "t10k")
    encoder = train(run, train_images[:N_TRAIN])
    ids = np.sort(
        np.concatenate([np.flatnonzero(test_labels == c)[:TEST_ROWS_PER_CLASS] for c in range(10)])
    )
    chosen = test_images[torch.from_numpy(ids)]
    generator = torch.Generator().manual_seed(SEED + 2)
    arrays = {
        "embeddings": embed(encoder, chosen),
        "view1": embed(encoder, augment(chosen, generator)),
        "view2": embed(encoder, augment(chosen, generator)),
        "labels": test_labels[ids],
        "ids": ids,
    }
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)
    temporary.replace(path)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, default=IMAGES, help="folder of the IDX .gz files")
    parser.add_argument("--out", type=Path, default=HERE, help="where the .npz files go")
    parser.add_argument("--only", default="", help="only the runs whose name contains this text")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at once")
    options = parser.parse_args()
    if not options.images.is_dir():
        parser.error(
            f"{options.images} is not there: on Debian, apt-get install dataset-fashion-mnist; "
            "elsewhere, point --images at a folder with the four IDX .gz files"
        )
    runs = [run for run in RUNS if options.only in run.name]
    if not runs:
        parser.error(f"no run is named like {options.only!r}: {', '.join(r.name for r in RUNS)}")
    options.out.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(options.jobs) as pool:
        futures = [pool.submit(make, run, options.images, options.out) for run in runs]
        for future in futures:
            print(future.result(), flush=True)


if __name__ == "__main__":
    main()
