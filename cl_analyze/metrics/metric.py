"""The declaration of a metric; it stands beside the metric's formula.

These parts read the declarations: `--definition`, the rules of `check`, `compare` (which numbers
can be compared), the sentences of the page, and the tables of docs/metrics.md and docs/quality.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from cl_analyze.metrics.means import Number
from cl_analyze.results.tables import Param, Record, Unit, undefined

Better = Literal["lower", "higher"]


@dataclass(frozen=True)
class Parameter:
    """A parameter of a metric's records.

    Attributes:
        name: its key in `params`.
        option: field of `MetricOptions` that sets the parameter; empty: no option sets it.
        is_whole: whether its values are whole numbers.
    """

    name: str
    option: str = ""
    is_whole: bool = False


T = Parameter("t", "ts")
TAU = Parameter("tau", "taus")
K = Parameter("k", "ks", is_whole=True)
NEGATIVES = Parameter("negatives", "negatives")


@dataclass(frozen=True)
class Metric:
    """The declaration of a metric.

    Attributes:
        name, unit: as in records.
        sentence: the metric in plain words.
        definitions: names of the definitions, the default first; empty for a single definition.
        formulas: formula of each definition, for the documentation; one for a single definition.
        parameters: parameters of the metric's records.
        better: whether low or high values are better; None: neither.
        depends_on: quantities that change the value although the distribution of rows is the same;
            numbers of checkpoints that differ in such a quantity are not compared.
        self_pairs: definitions that pair a row with itself; such pairs weigh more among few rows.
        is_law: whether the value is a closed form, so that a difference has no error.
        needs: input that the metric needs beside the embeddings: "labels", "views", one of the two
            ("views or labels"), or neither.
        source: publication that defines the metric.
        title: the name as people say it, see `spoken`; empty: `name` with spaces.
        units: unit of each definition, where they differ; `unit` is that of the default definition.
        definition, params: definition and parameters of one value, see `at`; equality of metrics
            ignores them.
    """

    name: str
    unit: Unit
    sentence: str
    definitions: tuple[str, ...] = ()
    formulas: tuple[str, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    better: Better | None = None
    depends_on: tuple[Literal["dimensions", "rows"], ...] = ()
    self_pairs: tuple[str, ...] = ()
    is_law: bool = False
    needs: Literal["", "labels", "views", "views or labels"] = ""
    source: str = ""
    title: str = ""
    units: tuple[Unit, ...] = ()
    definition: str | None = field(default=None, compare=False)
    params: Mapping[str, Param] = field(default_factory=dict, compare=False)

    @property
    def in_words(self) -> str:
        """The sentence, and the source."""
        return f"{self.sentence} {self.source}".rstrip()

    @property
    def spoken(self) -> str:
        """The name as people say it.

        >>> Metric("rankme", "dimensions", "", title="RankMe").spoken
        'RankMe'
        >>> Metric("effective_rank", "dimensions", "").spoken
        'effective rank'
        """
        return self.title or self.name.replace("_", " ")

    @property
    def unit_of_value(self) -> Unit:
        """The unit of the definition that `at` selects."""
        if self.definition is None or not self.units:
            return self.unit
        return self.units[self.definitions.index(self.definition)]

    def at(self, definition: str | None = None, **params: Param) -> Metric:
        """The metric for one value: one definition with some parameters.

        >>> Metric("recall_at_k", "share", "").at(k=10).params
        {'k': 10}
        """
        definition = self.definition if definition is None else definition
        return replace(self, definition=definition, params={**self.params, **params})

    def record(self, source: str, d: int | None, number: Number) -> Record:
        """A record of the value that `at` selects.

        Args:
            source: name of the checkpoint.
            d: dimensions of the checkpoint.
            number: value, errors, number of rows, pseudo-values.
        """
        return Record(
            source=source,
            metric=self.name,
            definition=self.definition,
            params=dict(self.params),
            value=number.value,
            std_error=number.std_error,
            unit=self.unit_of_value,
            n=number.n,
            d=d,
            sampling_error=number.sampling_error,
            exact=number.sampling_error is None,
            pseudo_values=number.pseudo_values,
            pseudo_noise=number.pseudo_noise,
        )

    def undefined(self, source: str, d: int | None, reason: str) -> Record:
        """A record without a value, with the reason."""
        return undefined(
            source, self.name, self.definition, dict(self.params), self.unit_of_value, d, reason
        )
