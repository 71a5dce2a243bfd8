"""What is declared once agrees with what is computed, and with what else is listed."""

from __future__ import annotations

import numpy as np
import pytest

import cl_analyze as cla
from cl_analyze.cli.commands import COMMANDS
from cl_analyze.comparison.selection import selection
from cl_analyze.errors import ConfigError
from cl_analyze.metrics import BETWEEN, DECLARED, METRICS
from cl_analyze.options import DECLARING, EVERY, FAMILIES, CompareOptions, MetricOptions, RunOptions
from cl_analyze.options.declaration import from_command_line, options_for, options_of


@pytest.fixture(scope="module")
def reports():
    random = np.random.default_rng(0)
    z = random.standard_normal((60, 6))
    other, labels = z + 0.3 * random.standard_normal((60, 6)), np.arange(60) % 3
    everything = {"labels": labels, "metrics": "all", "taus": [0.2], "queue": other[:9]}
    return [
        cla.analyze(z, pairs=other, batch_sizes=[8], **everything),
        cla.analyze(z, negatives="class", train=other, train_labels=labels, **everything),
        cla.analyze(z, pairs=other, alignment_power=1.0, anchors=20, **everything),
        cla.compare({"a": z, "b": other}, labels=labels, metrics="all", taus=[0.2]),
    ]


def test_records_are_as_declared(reports):
    families = {**METRICS, **BETWEEN}
    seen = set()
    for report in reports:
        for name, indices in report.document.families.items():
            for record in (report.records[i] for i in indices):
                metric = DECLARED[record.metric]
                seen.add(metric.name)
                assert metric in families[name].metrics
                assert set(record.params) <= {each.name for each in metric.parameters}, record
                known = families[name].definitions_of(record)
                assert record.definition in (known or (None,)) or (
                    name == "similarity" and record.definition is None
                ), record
                of_loss = metric.name.startswith("loss") or metric.name == "alignment"
                unit = metric.at(record.definition).unit_of_value if known else metric.unit
                assert record.unit == unit or of_loss, record
    assert seen == set(DECLARED)


def test_parameters_name_options():
    names = {name for declaring in DECLARING for name in options_of(declaring)}
    for metric in DECLARED.values():
        assert metric.sentence.endswith("."), metric.name
        assert {each.option for each in metric.parameters} <= {"", *names}
        assert set(metric.self_pairs) <= set(metric.definitions)
        assert len(metric.formulas) in (0, 1, len(metric.definitions))


def test_families_and_commands_are_listed_once():
    assert tuple(METRICS) == FAMILIES
    assert [command.name for command in COMMANDS] == list(EVERY)
    for command in COMMANDS:
        flags = [flag for each in options_for(command.name, DECLARING) for flag in each.flags]
        assert len(set(flags)) == len(flags), command.name


def test_every_default_is_a_value_that_the_check_lets_pass():
    for declaring in DECLARING:
        for name, each in options_of(declaring).items():
            assert each.kind.check(name, each.default) == each.default or each.default is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MetricOptions(simple_lambda=-1), "simple-lambda must be finite and >= 0, found"),
        (lambda: MetricOptions(simple_lambda=np.nan), "simple-lambda must be finite and >= 0"),
        (lambda: MetricOptions(siglip_bias=np.inf), "siglip-bias must be a number from -1e.06 to"),
        (lambda: MetricOptions(siglip_bias=True), "siglip-bias must be a number from -1e.06 to"),
        (lambda: MetricOptions(taus=[]), "tau: at least one number is needed"),
        (lambda: MetricOptions(negatives="all"), "negatives must be instance or class, found"),
        (lambda: RunOptions(memory="2GiB"), "memory must be a whole number of at least 1"),
        (lambda: RunOptions(precision="half"), "precision must be auto, float32 or float64"),
        (lambda: RunOptions(threads=0), "threads must be a whole number of at least 1, found 0"),
    ],
)
def test_options_at_their_edges(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_all_families_have_a_word_on_the_command_line():
    for typed, expected in ((["all"], ("all",)), (["losses"], ("losses",)), (None, None)):
        assert from_command_line(CompareOptions, {"metrics": typed}).metrics == expected
    with pytest.raises(ConfigError, match="no metric or family of metrics 'every'"):
        selection(["every"])


def test_single_metrics_and_families_are_selected():
    assert selection(["uniformity", "tolerance"]).metrics is None  # families of these names
    assert selection("all").families == FAMILIES
    mixed = selection(["knn_accuracy", "uniformity"])
    assert mixed.families == ("uniformity", "quality")
    assert {"knn_accuracy", "uniformity_gap", "cka"} < mixed.metrics
    assert "probe_accuracy" not in mixed.metrics
    assert selection(["cka"]).only == ("cka",)
    assert selection(["mutual_knn"]).single == ("neighbour_overlap",)
    for listed in (["knn_acuracy"], ["all", "knn_acuracy"]):
        with pytest.raises(ConfigError, match="'knn_acuracy'; did you mean 'knn_accuracy'"):
            selection(listed)


def test_the_order_of_fields_that_users_may_give_by_position():
    run = RunOptions("cuda", "float64", 3, 2**30, 512, "drop", "-1", "u_stat")
    assert (run.device, run.precision, run.threads, run.memory) == ("cuda", "float64", 3, 2**30)
    assert (run.block, run.on_invalid, run.unlabelled) == (512, "drop", "-1")
    assert run.definition == "u_stat"


def test_a_bias_may_have_either_sign():
    for bias in (-10, 0, 2.5):
        assert MetricOptions(siglip_bias=bias).siglip_bias == bias
    assert MetricOptions(siglip_bias=None).siglip_bias == -10.0


def test_none_is_the_default():
    options = MetricOptions(taus=None, ks=None, kcl_gamma=None, ts=None)
    assert options == MetricOptions()
    assert MetricOptions(curve_anchors=None).curve_anchors is None
    assert MetricOptions(ks=[]).ks == MetricOptions().ks


def test_pivot_keeps_the_first_definition_that_there_is(reports):
    views, train, *_ = (report.pivot() for report in reports)
    assert "similarity_mean group=positive" in views
    assert "knn_accuracy k=1 temperature=0.07" in views
    assert "similarity_mean group=positive" in train, "of classes, for there are no views"
    assert "knn_accuracy k=1 temperature=0.07" in train, "by the training set"
    default = reports[0].records.find("tolerance", "micro_excl").value
    assert views["tolerance"].item() == default


def test_rows_that_drop_does_not_reach_get_no_such_advice():
    random = np.random.default_rng(1)
    z, queue = random.standard_normal((20, 4)), random.standard_normal((5, 4))
    queue[2] = np.nan
    with pytest.raises(cla.DataError, match="1 row has NaN or infinite values") as caught:
        cla.losses(z, z + 0.1, queue=queue, run=RunOptions(on_invalid="drop"))
    assert "--on-invalid" not in str(caught.value)


LOWER = """uniformity uniformity_gap between_class_similarity penalty_false_negative_share
penalty_false_negative_ratio loss loss_alignment loss_uniformity hyperspherical_energy
a_infonce_false_negative_share mean_cosine near_duplicate_share uniformity_wasserstein
hubness_skewness hubness_robin_hood antihub_share alignment median_rank modality_gap
probe_calibration_error equal_error_rate violation_share condition_number nc1 nc1_trace_ratio
nc2_equinorm nc2_equiangular nc2_maximal_angle nc2_etf nc2_orthogonal_frame nc3
nc4_disagreement cdnv koleo modality_gap_relative"""
HIGHER = """tolerance tolerance_gap effective_rank rankme participation_ratio nesum stable_rank
numerical_rank isoscore recall_at_k hit_rate_at_k ndcg_at_k mrr map_at_r r_precision auroc
tpr_at_fpr d_prime knn_accuracy knn_top5_accuracy probe_accuracy ncc_accuracy
silhouette vendi_score lidar"""
OF_NEGATIVES = """penalty_entropy penalty_effective_negatives penalty_top1_share penalty_top10_share
loss loss_uniformity a_infonce_effective_negatives near_duplicate_share penalty_suspect_share
koleo temperature_of_effective_share temperature_of_top10_half"""
OF_DIMENSIONS = "uniformity uniformity_wasserstein hyperspherical_energy mean_cosine"
OF_ROWS = """same_class_share suspect_share recall_at_k hit_rate_at_k ndcg_at_k mrr map_at_r
r_precision median_rank hubness_skewness hubness_robin_hood antihub_share
numerical_rank"""


def test_what_gates_and_comparisons_take_from_the_declarations():
    """A second statement, by hand: one wrong word would turn a gate round."""

    def named(choose):
        return {metric.name for metric in DECLARED.values() if choose(metric)}

    assert named(lambda metric: metric.better == "lower") == set(LOWER.split())
    assert named(lambda metric: metric.better == "higher") == set(HIGHER.split())
    both = set(OF_NEGATIVES.split())
    assert named(lambda metric: "dimensions" in metric.depends_on) == both | set(
        OF_DIMENSIONS.split()
    )
    assert named(lambda metric: "rows" in metric.depends_on) == both | set(OF_ROWS.split())
    self_pairs = {metric.name: metric.self_pairs for metric in DECLARED.values()}
    assert {name: pairs for name, pairs in self_pairs.items() if pairs} == {
        "uniformity": ("v_stat",),
        "tolerance": ("micro_incl", "indicator"),
    }
    assert named(lambda metric: metric.is_law) == {
        "uniformity_of_uniform_law",
        "hyperspherical_energy_reference",
        "dcl_nscl_gap_bound",
    }


def test_numbers_with_self_pairs_are_not_compared_between_other_numbers_of_rows():
    random = np.random.default_rng(2)
    z, labels = random.standard_normal((40, 5)), np.arange(40) % 4
    metrics = ("uniformity", "tolerance")
    whole, part = (cla.analyze(z[:n], labels[:n], metrics=metrics) for n in (40, 30))
    compared = set(whole.compare(part)["definition"].dropna())
    assert compared == {"u_stat", "micro_excl", "macro_excl"}
