"""A further metric, option and file format through the public seams: one declaration each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import cl_analyze as cla
from cl_analyze.analysis.collected import check_definition
from cl_analyze.checks.needs import needs
from cl_analyze.checks.rules import parse_rule
from cl_analyze.cli import commands, parameters
from cl_analyze.data import formats
from cl_analyze.data.rows import Container, RowArray
from cl_analyze.errors import ConfigError
from cl_analyze.metrics import DECLARED, METRICS
from cl_analyze.metrics.family import Family, FamilyResult
from cl_analyze.metrics.means import Number
from cl_analyze.metrics.metric import Metric, Parameter
from cl_analyze.options import DECLARING
from cl_analyze.options.declaration import (
    MEASURED,
    Checked,
    from_command_line,
    option,
    with_options,
)
from cl_analyze.options.kinds import Numbers
from cl_analyze.pairs.reducers import PairMoments

FOURTH = Metric(
    "toy_moment",
    "ratio",
    "a mean power of the cosines.",
    ("mean_square", "twice"),
    parameters=(Parameter("t", "ts"),),
    better="lower",
    depends_on=("rows",),
)


class Toy(Family):
    """The mean squared cosine, once and twice."""

    name, title, metrics = "toy", "Toy", (FOURTH,)

    def first_pass(self, subject, options):
        return (PairMoments("all"),)

    def compute(self, results):
        subject = results.subject
        square = float(results.first[PairMoments("all")][:, 1].mean()) / (subject.n - 1)
        place = subject.source, subject.d
        return FamilyResult(
            tuple(
                FOURTH.at(name, t=t).record(*place, Number(factor * square, 0.1, subject.n))
                for t in results.options.ts
                for name, factor in (("mean_square", 1.0), ("twice", 2.0))
            )
        )


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setitem(METRICS, "toy", Toy())
    monkeypatch.setitem(DECLARED, FOURTH.name, FOURTH)


def test_a_declared_metric_is_measured_compared_and_judged(toy, random):
    z = random.standard_normal((30, 4))
    report = cla.analyze(z, metrics="toy", ts=[2.0, 3.0], source="z")
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    expected = ((unit @ unit.T) ** 2 - np.eye(30)).sum() / (30 * 29)
    assert report.records.find("toy_moment", "mean_square", t=2.0).value == pytest.approx(expected)
    assert list(report.pivot().columns) == ["toy_moment t=2", "toy_moment t=3"]
    kept = cla.analyze(z, metrics="toy", run=cla.RunOptions(definition="twice"))
    assert [record.definition for record in kept.records] == ["twice"]
    with pytest.raises(ConfigError, match="there are: mean_square, twice"):
        check_definition("thrice", ("toy",))
    alike, fewer = (cla.analyze(x, metrics="toy", source="z") for x in (z + 0.1, z[:20]))
    assert len(report.compare(alike)) == 2
    assert len(report.compare(fewer)) == 0, "it depends on the number of rows"
    rule = parse_rule({"metric": "toy_moment", "params": {"t": 3.0}, "max_worse": 0.1}, "rule 1")
    assert rule.better == "lower"
    (need,) = needs([rule])
    assert need.families == ("toy",)
    assert need.options.ts == (3.0,)


def test_the_page_shows_a_declared_metric(toy, random, tmp_path):
    report = cla.analyze(random.standard_normal((30, 4)), metrics=["uniformity", "toy"])
    report.save(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "<summary>Toy <" in page
    assert FOURTH.sentence.capitalize() in page
    assert (tmp_path / "tables" / "toy.csv").exists()


@dataclass(frozen=True)
class ToyOptions(Checked):
    """A further option."""

    halves: tuple[int, ...] = option(
        (1, 2), Numbers("H...", whole=True), MEASURED, "--half", "Halves to take", ("tolerance",)
    )


def test_a_declared_option_is_a_parameter_a_keyword_and_a_line_of_help(monkeypatch):
    monkeypatch.setattr(parameters, "DECLARING", (*DECLARING, ToyOptions))
    monkeypatch.setattr("cl_analyze.cli.lists.DECLARING", (*DECLARING, ToyOptions))
    seen = []
    monkeypatch.setattr(commands.Command, "run", lambda self, given: seen.append(given))
    settings = {"help_option_names": ["--help", "--help-all"]}
    app = typer.Typer(rich_markup_mode=None, context_settings=settings)
    for command in commands.COMMANDS[:2]:
        app.command(command.name, cls=parameters.PanelCommand)(parameters.function_of(command))
    run = CliRunner().invoke
    help_text = run(app, ["tolerance", "--help-all"], terminal_width=80).output
    assert f"  {'--half H...':<24}  Halves to take  [default: 1 2]\n" in help_text
    assert "--half" not in run(app, ["tolerance", "--help"]).output, "it is not common there"
    assert "--half" not in run(app, ["uniformity", "--help-all"]).output
    for typed in ("--half 3 4 z.npy", "z.npy --half 3,4", "--half 3 --half 4 z.npy"):
        assert run(app, ["tolerance", *typed.split()]).exit_code == 0
        assert from_command_line(ToyOptions, seen[-1]).halves == (3, 4)
        assert seen[-1]["embeddings"] == ["z.npy"]
    refused = run(app, ["uniformity", "z.npy", "--half", "1"])
    assert "uniformity has no --half: it is an option of tolerance" in refused.output
    with pytest.raises(ConfigError, match="half must be a whole number of at least 1, found 0"):
        ToyOptions(halves=[0])

    @with_options((ToyOptions,), "tolerance")
    def measure(z, **options):
        """Measure.

        {options}
        """
        return options

    assert measure(1, halves=[5]) == {"halves": [5]}
    assert "halves: halves to take; default 1 2." in measure.__doc__
    with pytest.raises(TypeError, match=r"measure\(\) got an unexpected keyword argument 'thirds'"):
        measure(1, thirds=3)


def test_a_format_is_one_entry(monkeypatch, tmp_path):
    def open_semicolons(path):
        rows = [[float(word) for word in line.split(";")] for line in path.read_text().splitlines()]
        array = RowArray.of(np.array(rows))
        return Container(path, "semicolons", {"embeddings": array})

    toy = formats.Format("semicolons", (".semi",), open_semicolons)
    monkeypatch.setattr(formats, "FORMATS", (*formats.FORMATS, toy))
    path = tmp_path / "z.semi"
    path.write_text("1;0\n0;1\n-1;0\n0.6;0.8\n")
    expected = cla.uniformity(np.array([[1, 0], [0, 1], [-1, 0], [0.6, 0.8]]))
    assert cla.uniformity(path).value == expected.value
    with pytest.raises(cla.DataError, match=r"readable: .*\.semi"):
        cla.uniformity(__file__)
