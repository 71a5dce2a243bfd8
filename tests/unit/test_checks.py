"""Rules, verdicts and what other programs are told, without a command line."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import xmlschema

from cl_analyze.checks import CheckOptions, Rule, load_rules, overall, run_checks
from cl_analyze.checks.baseline import load_baseline
from cl_analyze.checks.github import MOST_ANNOTATIONS, workflow_commands, write_summary
from cl_analyze.checks.judge import Earlier, _side, judge
from cl_analyze.checks.junit import junit, junit_error
from cl_analyze.checks.markdown import markdown
from cl_analyze.checks.needs import needs, select
from cl_analyze.checks.rules import find_rules, parse_rule
from cl_analyze.errors import ConfigError
from cl_analyze.metrics.differences import Match
from cl_analyze.options import Request, RunOptions
from cl_analyze.results.tables import Record

SCHEMA = Path(__file__).parent / "junit-10.xsd"


def record(value, error=None, pseudo=None, metric="tolerance", **more):
    return Record(
        more.pop("source", "emb.npy"), metric, "micro_excl", more.pop("params", {}), value, error,
        "cosine", 100, 8, pseudo_values=pseudo, **more,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rule = 1", "rules are [[rule]] tables"),
        ("[rule]\nmetric = 'x'", "rules are [[rule]] tables (with two brackets)"),
        ("", "has no rules"),
        ("x = [", "not valid TOML"),
        ("rules = []", "unknown key 'rules' in the file; did you mean 'rule'?"),
        ("[[rule]]\nmin = 1", 'rule 1: metric = "NAME" is needed, found None'),
        ("[[rule]]\nmetric='uniformty'\nmax=1", "no such metric; did you mean 'uniformity'?"),
        ("[[rule]]\nmetric='cka'\nmax=1", "(cka): it is one of two checkpoints, which compare has"),
        ("[[rule]]\nmetric='tolerance'\nmx=1", "unknown key 'mx'; did you mean 'max'?"),
        ("[[rule]]\nmetric='tolerance'\nmaxdrop=1", "did you mean 'max_drop'?"),
        ("[[rule]]\nmetric='tolerance'\nmin=0\nunit='cosin'", "no unit 'cosin'; did you mean 'cosine'?"),
        ("[[rule]]\nmetric='tolerance'\nmin=0\ndefinition='micro'", "no metric has a definition 'micro'; it has micro_excl, macro_excl"),
        ("[[rule]]\nmetric='tolerance'\nmin=0\ndefinition='u_stat'", "it has no definition 'u_stat'; it has micro_excl"),
        ("[[rule]]\nmetric='tolerance'\nmin=0\nparams={tua=1}", "no metric has a parameter 'tua'; did you mean 'tau'?"),
        ("[[rule]]\nmetric='tolerance'\nmin=0\nparams=1", "params is a table"),
        ("[[rule]]\nmetric='tolerance'\nmin=0\nparams={tau=nan}", "tau must be finite"),
        ("[[rule]]\nmetric='tolerance'\nmin=0\nparams={tau=[1]}", "tau must be a number or a text"),
        ("[[rule]]\nmetric='tolerance'", "a bound is needed: min, max, max_drop, max_rise, max_worse"),
        ("[[rule]]\nmetric='tolerance'\nmin=inf", "min must be a finite number"),
        ("[[rule]]\nmetric='tolerance'\nmin='0'", "min must be a finite number, found '0'"),
        ("[[rule]]\nmetric='tolerance'\nmin=true", "min must be a finite number, found True"),
        ("[[rule]]\nmetric='tolerance'\nmin=1" + 400 * "0", "min must be a finite number, found an integer of 1329 bits"),
        ("[[rule]]\nmetric='tolerance'\nmin=0\nconfidence=0.9999999999999999", "confidence must lie between"),
        ("[[rule]]\nmetric='tolerance'\nmin=2\nmax=1", "min 2 is above max 1"),
        ("[[rule]]\nmetric='tolerance'\nmax_drop=-1", "max_drop must be at least 0, found -1"),
        ("[[rule]]\nmetric='tolerance'\nmin=0\nrelative=true", "relative goes with max_drop, max_rise, max_worse"),
        ("[[rule]]\nmetric='tolerance'\nmin=0\nrequire_paired=true", "require_paired goes with"),
        ("[[rule]]\nmetric='tolerance'\nmin=0\nconfidence=95", "confidence must lie between 0 and 1"),
        ("[[rule]]\nmetric='tolerance'\nmin=0\nseverity='error'", 'severity must be "fail" or "warn"'),
        ("[[rule]]\nmetric='tolerance'\nmax_drop=1\nrelative='yes'", "relative must be true or false"),
    ],
)  # fmt: skip
def test_bad_rules_say_what_is_meant(tmp_path, text, message):
    path = tmp_path / "rules.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_rules(path)


def test_rules_are_found_where_they_are_written(tmp_path):
    with pytest.raises(ConfigError, match="no rules: pass --rules FILE"):
        find_rules(None, tmp_path)
    project = tmp_path / "pyproject.toml"
    project.write_text("[project]\nname = 'x'\n")
    with pytest.raises(ConfigError, match="no rules"):
        find_rules(None, tmp_path)
    project.write_text("[[tool.cl-analyze.rule]]\nmetric = 'tolerance'\nmin = 0.1\n")
    assert load_rules(find_rules(None, tmp_path)) == [Rule("tolerance", min=0.1)]
    own = tmp_path / "cl-analyze.toml"
    own.write_text("[[rule]]\nmetric = 'tolerance'\nmin = 0.2\n")
    assert load_rules(find_rules(None, tmp_path)) == [Rule("tolerance", min=0.2)]
    with pytest.raises(ConfigError, match=r"elsewhere\.toml: cannot be read: No such file"):
        load_rules(tmp_path / "elsewhere.toml")


def test_what_rules_name_is_what_is_computed():
    rules = [
        parse_rule({"metric": "uniformity", "max": -2}, "1"),
        parse_rule({"metric": "penalty_entropy", "params": {"tau": 0.15}, "min": 1}, "2"),
        parse_rule({"metric": "similarity_mean", "params": {"group": "negative_15"}, "max": 1}, "3"),
        parse_rule({"metric": "knn_accuracy", "params": {"k": 5}, "min": 0.5}, "4"),
        parse_rule({"metric": "alignment", "params": {"power": 1}, "max": 1}, "5"),
    ]  # fmt: skip
    plain, power = needs(rules)
    assert plain.rules == (0, 1, 2, 3)
    assert plain.families == ("uniformity", "similarity", "penalty", "quality")
    assert plain.options.taus == (0.15,)
    assert plain.options.ks == (5,)
    assert plain.options.top_k == 15
    assert (power.rules, power.families) == ((4,), ("quality",))
    assert power.options.alignment_power == 1
    # a rule without its temperature may mean any: it is asked for by the message
    (one,) = needs([rules[1], dataclasses.replace(rules[1], params={})])
    assert len(one.options.taus) == 8


def test_counts_may_have_a_decimal_point_and_errors_name_their_rule():
    rule = parse_rule({"metric": "knn_accuracy", "params": {"k": 10.0}, "min": 0}, "1")
    assert needs([rule])[0].options.ks == (10,)
    rule = parse_rule({"metric": "penalty_entropy", "params": {"tau": -1}, "min": 0}, "1")
    with pytest.raises(
        ConfigError, match=r"the rules on penalty_entropy tau=-1: tau must be finite"
    ):
        needs([rule])


def test_a_rule_means_one_record():
    rule = Rule("penalty_entropy", params={"tau": 0.2}, min=1.0)
    found = [
        record(2.0, metric="penalty_entropy", params={"tau": 0.1}),
        record(3.0, metric="penalty_entropy", params={"tau": 0.2 + 1e-15}),
    ]
    assert select(rule, found, "emb").value == 3.0
    with pytest.raises(
        ConfigError,
        match=r"means several records, say which by params: .*tau=0\.1.*; the first is "
        r"params = { tau = 0\.1 }",
    ):
        select(dataclasses.replace(rule, params={}), found, "emb")
    with pytest.raises(ConfigError, match=r"emb: no record for the rule .*tau=0\.3; there are"):
        select(dataclasses.replace(rule, params={"tau": 0.3}), found, "emb")
    with pytest.raises(ConfigError, match=r"none \(does it need --labels or --pairs\?\)"):
        select(Rule("tolerance", min=0), [], "emb")
    with pytest.raises(ConfigError, match="is in cosine, the rule says nats"):
        select(dataclasses.replace(rule, unit="nats"), found, "emb")
    undefined = Record("e", "tolerance", None, {}, None, None, "cosine", 0, 3, reason="no pairs")
    with pytest.raises(ConfigError, match="cannot be judged: no pairs"):
        select(Rule("tolerance", min=0), [undefined], "emb")


@pytest.mark.parametrize(
    ("kind", "low", "high", "expected"),
    [
        ("min", 1.0, 2.0, "inside"),
        ("min", 0.5, 2.0, "across"),
        ("min", 0.5, 0.9, "beyond"),
        ("min", 0.5, 1.0, "across"),
        ("max", 0.5, 1.0, "inside"),
        ("max", 0.5, 1.1, "across"),
        ("max", 1.1, 1.2, "beyond"),
    ],
)
def test_an_interval_lies_inside_beyond_or_across(kind, low, high, expected):
    assert _side(kind, 0.5 * (low + high), 1.0, low, high) == expected


@pytest.mark.parametrize(
    ("rule", "verdict"),
    [
        (Rule("tolerance", min=0.4), "pass"),
        (Rule("tolerance", min=0.6), "fail"),
        (Rule("tolerance", min=0.6, severity="warn"), "warn"),
        (Rule("tolerance", min=0.49), "inconclusive"),
        (Rule("tolerance", min=0.49, on_inconclusive="fail"), "fail"),
        (Rule("tolerance", min=0.49, on_inconclusive="fail", severity="warn"), "warn"),
        (Rule("tolerance", min=0.49, confidence=0.5), "pass"),
        (Rule("tolerance", max_drop=0.1), "skipped"),
    ],
)
def test_verdicts(rule, verdict):
    (check,) = judge(rule, record(0.5, 0.01))
    assert check.verdict == verdict
    (point,) = judge(dataclasses.replace(rule, min=0.4, max_drop=None), record(0.5))
    assert point.verdict == "pass", "without an error bar the point decides"
    assert "the point decides" in point.text


def test_the_worst_verdict_is_that_of_all():
    checks = {
        name: judge(rule, record(0.5, 0.01))[0]
        for name, rule in (
            ("pass", Rule("tolerance", min=0.1)),
            ("warn", Rule("tolerance", min=0.9, severity="warn")),
            ("fail", Rule("tolerance", min=0.9)),
            ("inconclusive", Rule("tolerance", min=0.5)),
            ("skipped", Rule("tolerance", max_rise=0)),
        )
    }
    assert overall(list(checks.values())) == "fail"
    assert overall([checks["pass"], checks["skipped"]]) == "pass"
    assert overall([checks["skipped"]]) == "skipped"
    assert overall([checks["pass"], checks["warn"], checks["inconclusive"]]) == "inconclusive"


class Base:
    """A baseline's checkpoint whose rows all have pseudo-values."""

    @staticmethod
    def sample_of(match):
        return None


def changed(rule, values, before, match=None):
    one = record(values.mean(), values.std(ddof=1) / 10, values)
    other = record(before.mean(), before.std(ddof=1) / 10, before)
    match = match or Match(np.arange(100), "paired")
    return judge(rule, one, Earlier(other, Base(), match))[0]


def test_drops_are_tested_on_pairs(random):
    before = random.normal(0.5, 0.2, 100)
    values = before - 0.05 + random.normal(0, 0.01, 100)
    assert changed(Rule("tolerance", max_drop=0.02), values, before).verdict == "fail"
    assert changed(Rule("tolerance", max_drop=0.08), values, before).verdict == "pass"
    assert changed(Rule("tolerance", max_rise=0.0), values, before).verdict == "pass"
    unpaired = changed(Rule("tolerance", max_drop=0.02), values, before, Match(None, "unpaired: x"))
    assert unpaired.verdict == "inconclusive", "the rows' own spread hides it"
    assert unpaired.paired is False
    with pytest.raises(ConfigError, match="requires paired rows; unpaired: x"):
        changed(Rule("tolerance", max_drop=0.02, require_paired=True), values, before, Match(None, "unpaired: x"))  # fmt: skip


def test_relative_bounds_are_shares_of_the_baseline(random):
    before = random.normal(-2.0, 0.05, 100)
    values = before - 0.3 + random.normal(0, 0.01, 100)  # 15% further from 0
    drop = changed(Rule("tolerance", max_drop=0.10, relative=True), values, before)
    assert drop.verdict == "fail"
    assert drop.bound == pytest.approx(-0.1 * abs(before.mean()))
    assert drop.low < drop.difference < drop.high
    # the bound's own error is in the interval: that of values - 1.1 before
    spread = (values - 1.1 * before).std(ddof=1) / 10
    assert drop.high - drop.low == pytest.approx(2 * 1.984 * spread, rel=1e-3)
    assert (
        changed(Rule("tolerance", max_drop=0.20, relative=True), values, before).verdict == "pass"
    )
    with pytest.raises(ConfigError, match="is 0 in the baseline"):
        judge(Rule("tolerance", max_drop=0.1, relative=True), record(1.0), Earlier(record(0.0), Base(), Match(None, "")))  # fmt: skip


def test_the_same_numbers_pass_whatever_rounding_says(random):
    values = random.normal(0.5, 0.2, 100)
    rounded = values.astype(np.float32).astype(np.float64)
    for name in ("max_drop", "max_rise"):
        assert changed(Rule("tolerance", **{name: 0.0}), values, rounded).verdict == "pass"


def test_few_rows_have_wide_intervals():
    """Student's t: the normal quantile fails one gate in eight at three rows."""
    widths = []
    for n in (3, 100_000):
        one = dataclasses.replace(record(0.5, 0.01), n=n)
        (check,) = judge(Rule("tolerance", min=0.0), one)
        widths.append((check.high - check.low) / 0.02)
    assert widths == pytest.approx([4.303, 1.960], abs=1e-3)
    one = dataclasses.replace(record(0.5, 0.01), n=1000)
    (check,) = judge(Rule("tolerance", min=0.0), one, groups=np.arange(1000) % 3)
    assert (check.high - check.low) / 0.02 == pytest.approx(4.303, abs=1e-3), "groups count"


@pytest.mark.parametrize(
    ("metric", "params", "change", "reason"),
    [
        (
            "uniformity",
            {"t": 2.0},
            {"d": 64},
            "depends on the dimensions, 64 and 8 here: uniformity_gap does not",
        ),
        ("similarity_mean", {"group": "negative_3"}, {"d": 64}, "depends on the dimensions"),
        ("penalty_entropy", {"tau": 0.1}, {"n": 50}, "depends on the number of rows"),
        ("similarity_mean", {"group": "negative_1"}, {"n": 50}, "depends on the number of rows"),
    ],
)
def test_what_cannot_be_compared_is_not_judged(metric, params, change, reason):
    one = dataclasses.replace(record(0.5, 0.01, metric=metric, params=params), definition=None)
    rule = Rule(metric, params=params, max_rise=0.1)
    match = Match(None, "unpaired", same_n="n" not in change)
    with pytest.raises(ConfigError, match=f"against the numbers of emb.npy: it {reason}"):
        judge(rule, dataclasses.replace(one, **change), Earlier(one, Base(), match))


HOSTILE = "a|b`<script>\x00\x1b[31m %0A::error::x,y\n# head"


@pytest.fixture
def checks():
    rules = [
        Rule("tolerance", min=0.1),
        Rule("tolerance", min=0.9),
        Rule("tolerance", min=0.9, severity="warn"),
        Rule("tolerance", min=0.5),
        Rule("tolerance", max_drop=0.1),
    ]
    return [
        check
        for source in ("good.npy", HOSTILE)
        for rule in rules
        for check in judge(rule, record(0.5, 0.01, source=source))
    ]


def test_junit_is_what_ci_servers_read(checks, tmp_path):
    path = tmp_path / "j.xml"
    names = [
        dataclasses.replace(c, record=dataclasses.replace(c.record, source="\ud800\x01"))
        for c in checks[:5]
    ]
    assert rb"\ud800\x01" in junit(names, "2026-01-01T00:00:00"), "no characters that XML has not"
    path.write_bytes(junit(checks, "2026-01-01T00:00:00+00:00"))
    schema = xmlschema.XMLSchema(SCHEMA)
    schema.validate(path)
    from xml.etree import ElementTree

    root = ElementTree.parse(path).getroot()
    assert (root.get("tests"), root.get("failures")) == ("10", "2")
    assert root[0].get("skipped") == "1"
    assert len(root.findall("testsuite")) == 2
    cases = root.findall("testsuite")[0].findall("testcase")
    assert [case.find("failure") is not None for case in cases] == [
        False,
        True,
        False,
        False,
        False,
    ]
    assert cases[4].find("skipped") is not None
    assert cases[2].find("system-out").text.startswith("warn: ")
    broken = path.read_text().replace("<failure", "<failed").replace("</failure", "</failed")
    assert not schema.is_valid(broken), "the schema would see what is wrong"


def test_junit_of_what_could_not_be_judged_is_an_error(tmp_path):
    path = tmp_path / "j.xml"
    path.write_bytes(junit_error("no \x00 labels <in> 'file'"))
    xmlschema.XMLSchema(SCHEMA).validate(path)
    assert 'errors="1"' in path.read_text()


def test_markdown_shows_names_as_they_are(checks):
    text = markdown(checks)
    assert text.startswith("## ❌ cl-analyze check: fail\n")
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + len(checks)
    for row in rows:
        assert len(re.findall(r"(?<!\\)\|", row)) == 7
        assert not re.search(r"(?<!\\)[<`]", row)
    assert "fail" in rows[1], "what needs attention comes first"


def test_a_bound_on_the_better_side_has_a_note_in_every_file():
    rule = Rule("uniformity_gap", max=0.4, max_drop=0.1)
    of_value, of_change = judge(rule, record(0.5, 0.01, metric="uniformity_gap"))
    assert (of_value.note, of_change.note) == (
        None,
        "lower is better, and max_drop stops it from getting better; max_worse stops it from "
        "getting worse",
    )
    assert [check.to_dict()["note"] for check in (of_value, of_change)] == [None, of_change.note]
    passed = dataclasses.replace(of_change, verdict="pass", text="within max_drop 0.1")
    expected = f"within max_drop 0.1 (note: {of_change.note})"
    assert markdown([of_value, passed]).count("(note: ") == 1
    assert expected.replace("_", "\\_") in markdown([of_value, passed])
    assert f">pass: {expected}</system-out>" in junit([passed], "2026-01-01T00:00:00").decode()
    failed = dataclasses.replace(passed, verdict="fail")
    assert f'message="{expected}"' in junit([failed], "2026-01-01T00:00:00").decode()
    assert workflow_commands([failed])[0].endswith(expected)


def test_a_summary_fits_what_github_takes(checks, tmp_path):
    path = tmp_path / "summary.md"
    write_summary(checks * 2_000, path)
    assert path.stat().st_size <= 1 << 20
    assert re.search(r"\n\d+ more checks do not fit here\.\n$", path.read_text())
    path.write_bytes(b"x" * ((1 << 20) - 10))
    write_summary(checks, path)
    assert path.stat().st_size == (1 << 20) - 10, "nothing is added that would make GitHub drop it"


def test_annotations_are_escaped_and_ten_at_most(checks):
    lines = workflow_commands(checks * 5)
    assert len(lines) == MOST_ANNOTATIONS
    assert all(line.startswith("::error title=cl-analyze%3A ") for line in lines)
    for line in workflow_commands(checks):
        assert re.fullmatch(r"::(error|warning) title=[^:,]*::.*", line)
    levels = [line[2 : line.index(" ")] for line in workflow_commands(checks)]
    assert levels == ["error"] * 2 + ["warning"] * 4


def test_rows_are_told_apart_by_labels_whatever_the_rules_need(random, tmp_path):
    """Rules without labels, and rules for several runs, match rows as all others do."""
    z = random.normal(size=(60, 6)) + 0.5
    labels = np.arange(60) % 3
    path, turned = tmp_path / "z.npz", tmp_path / "turned.npz"
    order = random.permutation(60)
    np.savez(path, embeddings=z, labels=labels)
    np.savez(turned, embeddings=z[order], labels=labels[order])
    everything = [
        Rule("uniformity", max_rise=0.1),
        Rule("tolerance", max_drop=0.1),
        Rule("alignment", params={"power": 1}, max_rise=9),
    ]
    run_checks(
        [Request(path)], everything[:2], RunOptions(), CheckOptions(save_to=tmp_path / "b.json")
    )
    base = load_baseline(tmp_path / "b.json")
    (check,) = run_checks([Request(path)], everything[:1], RunOptions(), CheckOptions(base)).checks
    assert check.paired, "labels are known though no rule needs them"
    (check,) = run_checks(
        [Request(turned)], everything[:1], RunOptions(), CheckOptions(base)
    ).checks
    assert not check.paired


def test_rows_that_were_dropped_are_not_the_same(random, tmp_path):
    rows = random.normal(size=(50, 6))
    one, other = rows.copy(), rows.copy()
    one[3], other[40] = np.nan, np.nan
    rule, run = Rule("uniformity", max_rise=0.1), RunOptions(on_invalid="drop")
    run_checks([Request(one, source="z")], [rule], run, CheckOptions(save_to=tmp_path / "b.json"))
    base = load_baseline(tmp_path / "b.json")
    (check,) = run_checks([Request(one, source="z")], [rule], run, CheckOptions(base)).checks
    assert check.paired
    (check,) = run_checks([Request(other, source="z")], [rule], run, CheckOptions(base)).checks
    assert not check.paired


def test_large_baselines_keep_a_sample_of_rows(random, tmp_path, monkeypatch):
    from cl_analyze.checks import baseline

    z = random.normal(size=(400, 6)) + 0.5
    rule = Rule("uniformity", max_rise=0.02)
    request = Request(z, source="emb", ids=np.arange(400))
    run_checks([request], [rule], RunOptions(), CheckOptions(save_to=tmp_path / "full.json"))
    monkeypatch.setattr(baseline, "MOST_ROWS", 100)
    run_checks([request], [rule], RunOptions(), CheckOptions(save_to=tmp_path / "some.json"))
    kept = load_baseline(tmp_path / "some.json")
    assert len(kept.sources[0].sample) == 100
    order = random.permutation(400)
    later = Request((z + 0.05 * random.normal(size=z.shape))[order], source="emb", ids=order)
    widths = {}
    for name in ("full", "some"):
        base = load_baseline(tmp_path / f"{name}.json")
        (check,) = run_checks([later], [rule], RunOptions(), CheckOptions(base)).checks
        assert check.paired
        widths[name] = check.high - check.low
    assert widths["some"] == pytest.approx(widths["full"], rel=0.3), "scaled to all rows"
