"""The sentences of the first screen: which checkpoint, whether it is healthy, what next."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

import cl_analyze as cla
from cl_analyze.metrics.differences import params_text
from cl_analyze.metrics.headlines import headlines
from cl_analyze.report.decision import decision, rows_needed
from cl_analyze.report.health import ALARMS
from cl_analyze.report.summary import columns_of, summary_of
from cl_analyze.results.tables import Table

N, D = 200, 16
MEASURED = ("uniformity", "tolerance", "similarity", "penalty", "quality")


def saved(folder, **arrays):
    for name, rows in arrays.items():
        labels = np.arange(N) % 4
        np.savez(folder / f"run-{name}.npz", embeddings=rows, labels=labels)
    return [folder / f"run-{name}.npz" for name in arrays]


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A winner, its equal, a worse one and a collapsed one; and the same without labels."""
    random = np.random.default_rng(2)
    labels = np.arange(N) % 4
    shared = random.standard_normal((N, D))
    good = np.eye(4, D)[labels] + 0.5 * shared
    return saved(
        tmp_path_factory.mktemp("decision"),
        good=good,
        equal=good + 0.01 * random.standard_normal((N, D)),
        noisy=np.eye(4, D)[labels] + 1.6 * random.standard_normal((N, D)),
        line=np.outer(random.choice([-1.0, 1.0], N), np.eye(D)[0]) + 0.001 * shared,
    )


def of(report):
    sentences = decision(report.document)
    assert len(sentences) <= 5
    for sentence in sentences:
        assert sentence.title
        assert re.match(r"[A-Z0-9a-z].*[.)]\Z", sentence.text), sentence.text
        assert "nan" not in sentence.text
    return {sentence.title: sentence.text for sentence in sentences}


def test_accuracies_that_naming_the_largest_class_has_too_are_no_praise(made, tmp_path):
    (noise,) = saved(tmp_path, noise=np.random.default_rng(0).standard_normal((N, D)))
    text = of(cla.analyze(noise, metrics=MEASURED))["Accuracy"]
    assert text.count("no better than naming the largest class (25%)") == 2, text
    assert "no better" not in of(cla.analyze(made[0], metrics=MEASURED))["Accuracy"]


@pytest.fixture(scope="module")
def several(made):
    return cla.analyze(made, metrics=MEASURED)


def test_several_checkpoints(several):
    found = of(several)
    assert found["Measured"] == f"4 checkpoints, {N} rows x {D} dimensions, 4 classes."
    text = found["Best by kNN accuracy, k 20"]
    best, other = re.match(
        r"(good|equal) \(\d\d\.\d%\).*from it: (good|equal) \(paired", text
    ).groups()
    assert best != other
    assert re.search(r"Worse: .*noisy", text)
    assert found["Health"].startswith("Collapsed (99% of the variance in 1 of 16): line")
    assert "further seeds" in found["Next"]
    assert "docs/guide.md" in found["Next"]


def test_rows_without_a_label_do_not_make_the_largest_class_smaller(tmp_path):
    random = np.random.default_rng(0)
    labels = np.where(np.arange(N) % 10 < 7, "large", "small").astype("<U5")
    labels[N // 2 :] = ""
    np.savez(tmp_path / "e.npz", embeddings=random.standard_normal((N, D)), labels=labels)
    text = of(cla.analyze(tmp_path / "e.npz", metrics=MEASURED))["Accuracy"]
    assert text.count("no better than naming the largest class (70%)") == 2, text


def test_collapsed_checkpoints_are_named_and_get_no_further_seeds(tmp_path):
    random = np.random.default_rng(3)
    flat = np.outer(np.ones(N), np.eye(D)[0])
    paths = saved(
        tmp_path,
        one=flat + 1e-4 * random.standard_normal((N, D)),
        two=flat + 2e-4 * random.standard_normal((N, D)),
    )
    found = of(cla.analyze(paths, metrics=MEASURED))
    assert " Collapsed: " in found["Best by kNN accuracy, k 20"]
    assert "seeds" not in found["Next"]


def test_a_checkpoint_without_labels_is_named(made, tmp_path):
    bare = tmp_path / "run-bare.npz"
    np.savez(bare, embeddings=np.load(made[0])["embeddings"])
    found = of(cla.analyze([made[0], bare], metrics=MEASURED))
    assert "No labels: bare (pass --labels FILE)." in found["Measured"]
    assert found["Next"].startswith("Give every checkpoint labels")


def test_checkpoints_that_are_best_in_both_are_all_named(tmp_path):
    """Two equal ones beside a third: neither is named alone."""
    random = np.random.default_rng(4)
    good = np.eye(4, D)[np.arange(N) % 4] + 0.1 * random.standard_normal((N, D))
    paths = saved(tmp_path, a=good, b=good, c=random.standard_normal((N, D)))
    text = " ".join(of(cla.analyze(paths, metrics=MEASURED)).values())
    assert text.count("a and b (100.0%)") == 2, text


def test_the_summary_marks_what_the_table_says(several):
    document = several.document
    found = summary_of(document, document.sources)
    shown = columns_of(document)
    assert found.has_standings
    for row in found.rows:
        for headline, cell in zip(shown, row.cells, strict=True):
            params = params_text(headline.find(document, row.source))
            (line,) = document.rows(
                "standings", source=row.source, metric=headline.metric, params=params
            )
            assert cell.standing == ("" if line["standing"] == "unknown" else line["standing"])


def test_a_comparison_names_its_reference_and_has_the_same_best(made, several):
    compared = of(cla.compare(made, metrics=MEASURED, against=str(made[2])))
    own = of(several)
    assert compared["Measured"].endswith("The reference of the comparison is noisy.")
    title = "Best by linear probe"
    assert compared[title] == own[title]
    few = of(cla.compare(made, metrics=("uniformity", "tolerance")))
    assert "No accuracy was measured" in few["Measured"]
    assert {"Best by gap to uniform law", "Best by tolerance"} <= set(few)
    assert few["Next"].startswith("Measure kNN accuracy")


def test_two_accuracies_that_choose_differently_say_for_what(several):
    """The same table, with another best for the probe."""
    document = several.document
    table = document.tables["standings"]
    first = next(row["best"] for row in table.rows if row["metric"] == "knn_accuracy")
    other = "run-equal.npz" if first == "run-good.npz" else "run-good.npz"
    rows = []
    for row in table.rows:
        row = dict(row)
        if row["metric"] == "probe_accuracy":
            row["best"] = other
            row["standing"] = "best" if row["source"] == other else "tied"
        rows.append(row)
    changed = replace(
        document,
        tables={**document.tables, "standings": Table("standings", table.columns, tuple(rows))},
    )
    found = {sentence.title: sentence.text for sentence in decision(changed)}
    assert (
        ", for finding rows of the same class (retrieval)." in found["Best by kNN accuracy, k 20"]
    )
    assert ", for a linear classifier." in found["Best by linear probe"]
    assert "all 3 others" in found["Best by linear probe"]


@pytest.fixture(scope="module")
def towers():
    random = np.random.default_rng(4)
    shared = random.standard_normal((N, D))
    gap = 0.7 * np.eye(D)[0]
    return [
        (unit(shared + noise * random.standard_normal((N, D))) + gap,
         unit(shared + noise * random.standard_normal((N, D))) - gap)
        for noise in (0.2, 1.0)
    ]  # fmt: skip


def test_two_towers_have_recall_first_and_their_gap_in_the_health(towers, tmp_path):
    files = []
    for i, pair in enumerate(towers):
        files.append([tmp_path / f"{kind}-{i}.npy" for kind in ("image", "text")])
        for path, rows in zip(files[-1], pair, strict=True):
            np.save(path, rows)
    images, texts = zip(*files, strict=True)
    report = cla.analyze(list(images), pairs=list(texts), metrics=("uniformity", "quality"))
    titles = [sentence.title for sentence in decision(report.document)]
    assert titles[1] == "Best by recall, k 1"
    assert "modality gap" in [headline.title for headline in headlines(report.document)]
    found = of(report)
    assert "partners in a second file" in found["Measured"]
    assert "pass --labels FILE" in found["Measured"]
    assert re.search(r"means of the two files are [\d.]+ \(\S+\) to [\d.]+ ", found["Health"])
    one = of(cla.analyze(images[0], pairs=texts[0], metrics=("uniformity", "quality")))
    assert re.search(r"means of the two files are [\d.]+ apart \(modality gap\)", one["Health"])
    assert "recall, k 1:" in one["Accuracy"]
    compared = cla.compare(
        [str(path) for path in images],
        pairs={str(path): str(text) for path, text in zip(images, texts, strict=True)},
        metrics=("uniformity", "quality"),
    )
    gaps = compared.document.rows("standings", metric="modality_gap")
    assert [row["standing"] for row in gaps].count("best") == 1


def test_without_labels_others_stand_in(towers, tmp_path):
    paths = [tmp_path / f"{i}.npy" for i in range(2)]
    for path, (rows, _) in zip(paths, towers, strict=True):
        np.save(path, rows)
    found = of(cla.analyze(paths, metrics=("uniformity", "quality")))
    assert {"Best by gap to uniform law", "Best by effective rank"} <= set(found)
    assert "no recall (pass --labels FILE, or --pairs FILE)" in found["Measured"]
    assert "an encoder that has learned nothing is more uniform still" in found["Next"]


def test_one_checkpoint(made):
    found = of(cla.analyze(made[0], metrics=MEASURED))
    assert "less uniform than the uniform sphere" in found["Beside the uniform sphere"]
    assert re.match(r"kNN accuracy, k 20: \d+\.\d% ± \d", found["Accuracy"])
    assert found["Health"].startswith("Not collapsed. No hubs to speak of")
    assert "compare REFERENCE" in found["Next"]
    collapsed = of(cla.analyze(made[3], metrics=MEASURED))
    assert collapsed["Next"].startswith("Look at the training first")


@pytest.mark.parametrize("verdict", ["complete", "dimensional", "partial", "none", "unknown"])
def test_partial_collapse_is_no_alarm(several, verdict):
    document = several.document
    table = document.tables["collapse"]
    rows = tuple({**row, "verdict": verdict} for row in table.rows)
    changed = replace(document, tables={**document.tables, "collapse": replace(table, rows=rows)})
    health = {sentence.title: sentence.text for sentence in decision(changed)}["Health"]
    assert (verdict in ALARMS) == ("ollapsed" in health and "None is collapsed" not in health)
    assert ("as expected at large τ" in health) == (verdict == "partial")


def test_rows_for_a_point():
    assert rows_needed(2000, 0.0) == 0.0
    assert rows_needed(400, 0.02) == 6000.0  # 400 (3.92)^2 = 6147
