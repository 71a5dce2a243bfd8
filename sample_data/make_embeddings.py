"""Train the encoders behind the sample embeddings, and save what they see.

One small convolutional encoder per temperature is trained on 10,000 Fashion-MNIST images with the
NT-Xent loss (Chen et al., ICML 2020: symmetric, positive in the denominator, 2B - 2 in-batch
negatives), and one more at temperature 1 that keeps only the top 10% of each anchor's negatives
(the hard contrastive loss of Wang & Liu, CVPR 2021, eqs. 8-9).  Each encoder then embeds the same
2,000 test images: once clean, and twice augmented.

    python -m sample_data.make_embeddings                # every run, one process per core
    python -m sample_data.make_embeddings --only tau-0.2 --images /path/to/fashion-mnist

Runs are deterministic (one thread, fixed seed) and resumable: a file that exists is kept, and each
file appears whole or not at all.  About two minutes per run on one core.
"""

from __future__ import annotations

import argparse
import math
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cl_analyze.output import replacing
from sample_data.encoders import (
    CLASSES,
    FASHION_MNIST,
    Encoder,
    apply,
    augment,
    first_of_each_class,
    load_images,
    train,
)

HERE = Path(__file__).resolve().parent
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


def trained(run: Run, images: Path) -> Encoder:
    """The encoder of `run`, the same each time: one thread, seeded."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    train_images, _ = load_images(images, "train")
    torch.manual_seed(SEED)
    encoder = Encoder()
    train(
        encoder,
        train_images[:N_TRAIN],
        lambda view1, view2: contrastive_loss(view1, view2, run),
        epochs=EPOCHS,
        batch=BATCH,
        generator=torch.Generator().manual_seed(SEED + 1),
        told=lambda text: print(f"{run.name} {text}", flush=True),
    )
    return encoder


def make(run: Run, images: Path, out: Path) -> Path:
    """Train `run` and write its .npz, whole or not at all."""
    path = out / f"{run.name}.npz"
    if path.exists():
        return path
    encoder = trained(run, images)
    test_images, test_labels = load_images(images, "t10k")
    ids = first_of_each_class(test_labels, TEST_ROWS_PER_CLASS)
    chosen = test_images[torch.from_numpy(ids)]
    generator = torch.Generator().manual_seed(SEED + 2)
    arrays = {
        "embeddings": apply(encoder, chosen).astype(np.float16),
        "view1": apply(encoder, augment(chosen, generator)).astype(np.float16),
        "view2": apply(encoder, augment(chosen, generator)).astype(np.float16),
        "labels": test_labels[ids],
        "ids": ids,
        "class_names": np.array(CLASSES),
    }
    with replacing(path) as file:
        np.savez_compressed(file, **arrays)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--images", type=Path, default=FASHION_MNIST, help="folder of the IDX .gz files"
    )
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
