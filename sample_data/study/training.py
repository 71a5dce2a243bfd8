"""One run of the study: train an encoder, and save what it sees."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from cl_analyze.output import replacing
from sample_data.encoders import Encoder, apply, augment, first_of_each_class, load_images, train
from sample_data.study.plan import DataSet, Run

Images = tuple[Tensor, np.ndarray]


def load(data: DataSet, fashion_mnist: Path) -> tuple[Images, Images, np.ndarray]:
    """Training images and labels, test images and labels, and the test images' ids."""
    if data.name == "digits":
        train_set, test_set = _digits(data.n_train)
    else:
        images, labels = load_images(fashion_mnist, "train")
        train_set = images[: data.n_train], labels[: data.n_train]
        test_set = load_images(fashion_mnist, "t10k")
    labels = test_set[1]
    ids = first_of_each_class(labels, data.test_rows_per_class)
    return train_set, (test_set[0][torch.from_numpy(ids)], labels[ids]), ids


def _digits(n_train: int) -> tuple[Images, Images]:
    """scikit-learn's 1,797 digits of 8 x 8, enlarged to 16 x 16, cut at random (fixed seed)."""
    from sklearn.datasets import load_digits

    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    small = torch.from_numpy(found.images[order].astype(np.float32) / 16.0).unsqueeze(1)
    images = F.interpolate(small, scale_factor=2, mode="bilinear", align_corners=False)
    labels = found.target[order].astype(np.int64)
    return (images[:n_train], labels[:n_train]), (images[n_train:], labels[n_train:])


def end_quietly() -> None:
    """In a worker: Ctrl-C ends it, and the program says what there is to say."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))


def seconds_per_step(run: Run, fashion_mnist: Path) -> float:
    """How long a step of `run` takes here: the median of five, after two to warm up."""
    torch.set_num_threads(1)
    (images, _), _, _ = load(run.data, fashion_mnist)
    batch = images[: run.data.batch]
    generator = torch.Generator().manual_seed(0)
    encoder = Encoder().to(memory_format=torch.channels_last)
    loss = run.setting.make()
    times = []
    for _ in range(7):
        started = time.perf_counter()
        view1 = encoder(augment(batch, generator, run.data.flip))
        view2 = encoder(augment(batch, generator, run.data.flip))
        loss(view1, view2).backward()
        times.append(time.perf_counter() - started)
    return float(np.median(times[2:]))


def make(run: Run, out: Path, fashion_mnist: Path) -> float:
    """Train `run` and write its .npz, whole or not at all; the seconds that it took.

    The seed fixes the initial weights, the batches, the augmentations and the two saved views.
    """
    started = time.perf_counter()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    (train_images, train_labels), (test_images, test_labels), ids = load(run.data, fashion_mnist)
    torch.manual_seed(run.seed)
    encoder = Encoder().to(memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(run.seed + 1)
    train(
        encoder,
        train_images,
        run.setting.make(),
        epochs=run.data.epochs,
        batch=run.data.batch,
        generator=generator,
        flip=run.data.flip,
    )
    views = torch.Generator().manual_seed(run.seed + 2)
    arrays = {
        "embeddings": apply(encoder, test_images),
        "view1": apply(encoder, augment(test_images, views, run.data.flip)),
        "view2": apply(encoder, augment(test_images, views, run.data.flip)),
        "backbone": apply(encoder.backbone, test_images),
        "labels": test_labels,
        "ids": ids,
    }
    learnt = {
        "embeddings": apply(encoder, train_images),
        "backbone": apply(encoder.backbone, train_images),
        "labels": train_labels,
    }
    save(out / run.path, arrays, learnt)
    return time.perf_counter() - started


def save(path: Path, tested: dict[str, np.ndarray], learnt: dict[str, np.ndarray]) -> None:
    """A run's two files: what is tested, and what its classifiers learn from."""
    training_set(path).parent.mkdir(parents=True, exist_ok=True)
    for place, arrays in ((training_set(path), learnt), (path, tested)):
        with replacing(place) as file:
            np.savez(file, **arrays)


def is_there(run: Run, out: Path) -> bool:
    """Whether both files of `run` are saved."""
    path = out / run.path
    return path.exists() and training_set(path).exists()


def training_set(path: Path) -> Path:
    """Where the rows that the classifiers of the run at `path` learn from are."""
    return path.parent / "train" / path.name
