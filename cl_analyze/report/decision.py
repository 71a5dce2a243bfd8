"""What a document says about the choice of a checkpoint, in a few sentences from its tables."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from cl_analyze.figures.sources import axis_of, natural_order, short_names
from cl_analyze.metrics.correlation import ACCURACIES
from cl_analyze.metrics.differences import SIGNIFICANT, params_text
from cl_analyze.metrics.headlines import Headline, has_two_towers, headlines
from cl_analyze.report.comparison import reference_of
from cl_analyze.report.health import (
    first_upper,
    health,
    is_collapsed,
    listed,
    range_text,
    value_text,
)
from cl_analyze.report.sentences import hubs_in_words, meaning
from cl_analyze.results.document import Document
from cl_analyze.results.ordering import TEMPERATURE
from cl_analyze.results.tables import Cell, Record

GUIDE = "How to choose: docs/guide.md, section 5."
_SEEDS = 3
"""Checkpoints that are named for further seeds."""
_POINT = 0.01
_OF_CLASSES = {"knn_accuracy", "probe_accuracy"}
_STAND_INS = ("uniformity_gap", "effective_rank", "tolerance")
"""What is looked at where no accuracy is known."""
_USES = {
    "knn_accuracy": "for finding rows of the same class (retrieval)",
    "recall_at_k": "for finding the partner of a row (retrieval)",
    "probe_accuracy": "for a linear classifier",
}


@dataclass(frozen=True)
class Sentence:
    """One or more short sentences under a title of a few words; plain text."""

    title: str
    text: str


Row = Mapping[str, Cell]


def _standing(document: Document, headline: Headline, source: str) -> Row | None:
    record = headline.find(document, source)
    if record is None:
        return None
    rows = document.rows(
        "standings",
        source=source,
        metric=record.metric,
        definition=record.definition,
        params=params_text(record),
    )
    return rows[0] if rows else None


def decision(document: Document) -> tuple[Sentence, ...]:
    """What was measured, which checkpoint is best, whether all are healthy, and what to do next.

    Names are the short ones.  All differences are those of the table `standings`.

    Returns:
        At most five sentences; none of a document without checkpoints.
    """
    sources = natural_order(document)
    if not document.n_rows or not headlines(document):
        return ()
    found = [_measured(document, sources)]
    found += _several(document, sources) if len(sources) > 1 else _single(document, sources[0])
    return tuple(found)


# ---- what was measured


def _measured(document: Document, sources: Sequence[str]) -> Sentence:
    names = short_names(document)
    rows = sorted({document.n_rows[source] for source in sources if source in document.n_rows})
    dims = sorted({r.d for r in document.results if r.d is not None and r.source in sources})
    variants = sum(bool(document.variants.get(source)) for source in sources)
    parts = [names[sources[0]] if len(sources) == 1 else _counted(len(sources), "checkpoint")]
    if variants:
        parts[0] += f", {variants} of them variants" if len(sources) > 1 else " (a variant)"
    parts.append(f"{range_text(rows)} rows x {range_text(dims)} dimensions")
    classes = sorted(set(document.n_classes.values()))
    if classes:
        parts.append(_counted(classes[-1], "class", "classes"))
    if has_two_towers(document):
        parts.append("partners in a second file")
    elif document.pairing:
        parts.append("two views of each row")
    text = " ".join((f"{', '.join(parts)}.", *_missing(document)))
    if (reference := reference_of(document)) is not None:
        text += f" The reference of the comparison is {names[reference]}."
    return Sentence("Measured", text)


def _counted(count: int, noun: str, plural: str = "") -> str:
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


# ---- several checkpoints


@dataclass(frozen=True)
class _Choice:
    """One headline number with the standings of all checkpoints in it."""

    headline: Headline
    rows: Mapping[str, Row]

    @property
    def best(self) -> str:
        """The source with the best value."""
        return next(str(row["best"]) for row in self.rows.values())

    def those(self, standing: str) -> list[str]:
        """The sources of this standing."""
        return [source for source, row in self.rows.items() if row["standing"] == standing]


def _choices(document: Document, sources: Sequence[str]) -> Iterator[_Choice]:
    """The headline numbers that have a best checkpoint."""
    for headline in headlines(document):
        rows = {
            source: row
            for source in sources
            if (row := _standing(document, headline, source)) is not None
        }
        if any(row["standing"] == "best" for row in rows.values()):
            known = {source: row for source, row in rows.items() if row["best"] is not None}
            yield _Choice(headline, known)


def _deciding(choices: Sequence[_Choice], document: Document) -> list[_Choice]:
    """At most two numbers to decide by: accuracies, recall first between two towers; else others.

    Views of one row are found again by every encoder that was trained to do so; that recall counts
    only where there are no labels.
    """
    order = ["knn_accuracy", "probe_accuracy", "recall_at_k"]
    if has_two_towers(document):
        order = ["recall_at_k", "knn_accuracy", "probe_accuracy"]
    of_metric = {choice.headline.metric: choice for choice in reversed(choices)}
    chosen = [of_metric[metric] for metric in order if metric in of_metric][:2]
    if not chosen or not document.n_classes:
        chosen += [of_metric[metric] for metric in _STAND_INS if metric in of_metric]
    others = [choice for choice in choices if choice.headline.metric != "uniformity"]
    chosen += [choice for choice in others if choice not in chosen and not chosen]
    return (chosen or list(choices))[:2]


def _several(document: Document, sources: Sequence[str]) -> list[Sentence]:
    choices = list(_choices(document, sources))
    deciding = _deciding(choices, document)
    is_split = len({choice.best for choice in deciding}) > 1
    names_uses = is_split and all(choice.headline.metric in _USES for choice in deciding)
    found = [_best(choice, document, names_uses) for choice in deciding]
    if is_split and len(deciding) > 1:
        found[-1] = replace(found[-1], text=found[-1].text + _for_both(deciding, document))
    if text := health(document, sources):
        found.append(Sentence("Health", text))
    found.append(Sentence("Next", _next(document, deciding)))
    return found


def _best(choice: _Choice, document: Document, names_uses: bool) -> Sentence:
    """The best checkpoint of a number, those that are tied with it, and those that are worse."""
    names = short_names(document)
    headline, best = choice.headline, choice.best
    use = _USES.get(headline.metric, "") if names_uses else ""
    equal = _and(names[source] for source in choice.those("best"))
    record = headline.find(document, best)
    text = f"{equal} ({value_text(record)})"
    text += f", {use}" if use else ""
    text += f"{_no_better(record, document)}."
    tied, worse, unknown = (choice.those(kind) for kind in ("tied", "worse", "unknown"))
    is_paired = all(choice.rows[source]["paired"] for source in (*tied, *worse))
    how = f"{'paired' if is_paired else 'unpaired'} differences, 95%, adjusted over all pairs"
    it = "it" if len(choice.those("best")) == 1 else "them"
    if tied:
        text += f" Not distinguishable from {it}: {_named(tied, choice, names)} ({how})."
    if worse:
        also = "" if tied else f" ({how})"
        text += f" Worse: {_named(worse, choice, names)}{also}."
    if unknown:
        text += f" Not comparable with {it}: {_named(unknown, choice, names)}."
    collapsed = [source for source in choice.those("best") if is_collapsed(document, source)]
    if collapsed:
        text += f" Collapsed: {listed(collapsed, names)}."
    return Sentence(f"Best by {headline.title}", text)


def _and(names: Iterable[str]) -> str:
    """Names in a row.

    >>> _and(["a", "b", "c"]), _and(["a"])
    ('a, b and c', 'a')
    """
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _for_both(deciding: Sequence[_Choice], document: Document) -> str:
    """The checkpoint that is the best or tied with it in every deciding number.

    Of several, that with the smallest loss to the best, in standard errors of the difference.
    """
    names = short_names(document)
    losses: dict[str, float] = {}
    for source in deciding[0].rows:
        rows = [choice.rows.get(source, {}) for choice in deciding]
        if all(row.get("standing") in ("best", "tied") for row in rows):
            losses[source] = sum(
                abs(float(row["difference"] or 0.0)) / float(row["std_error"] or 1.0)
                for row in rows
            )
    if not losses:
        return " None is among the best in both."
    least = min(losses.values())
    chosen = [source for source, loss in losses.items() if loss == least]
    return f" For both: {_and(names[s] for s in chosen)}, the best or not distinguishable in each."


def _named(sources: Sequence[str], choice: _Choice, names: Mapping[str, str]) -> str:
    """Names of sources; many are counted, and all but the best are not listed."""
    if len(sources) == len(choice.rows) - 1 > 2:
        return f"all {len(sources)} others"
    return listed(sources, names)


def _no_better(record: Record | None, document: Document) -> str:
    """Whether an accuracy of classes may be that of always naming the largest class.

    The share of that class is one of the rows that have a label.
    """
    if record is None or record.value is None or record.metric not in _OF_CLASSES:
        return ""
    rows = document.rows("tolerance_by_class", source=record.source)
    sizes = [int(row["n"] or 0) for row in rows]
    if not sizes:
        return ""
    share = max(sizes) / sum(sizes)
    is_above = record.value - _QUANTILE * (record.total_error or 0.0) > share
    return "" if is_above else f" - no better than naming the largest class ({100 * share:.0f}%)"


def _without_labels(document: Document) -> list[str]:
    return [source for source in natural_order(document) if source not in document.n_classes]


def _missing(document: Document) -> list[str]:
    """What was not measured, and what to pass for it; empty where an accuracy of classes is."""
    measured = {record.metric for record in document.results if record.value is not None}
    if measured & _OF_CLASSES:
        without, names = _without_labels(document), short_names(document)
        return [f"No labels: {listed(without, names)} (pass --labels FILE)."] if without else []
    if document.n_classes:
        text = "No accuracy was measured; other numbers are only a substitute."
        return [] if measured & set(ACCURACIES) else [text]
    text = "No labels: no tolerance, false negatives, kNN accuracy or linear probe"
    if "recall_at_k" in measured:
        return [f"{text} (pass --labels FILE)."]
    if document.pairing:
        return [f"{text} (pass --labels FILE), and no recall was measured."]
    return [f"{text}; no second view: no recall (pass --labels FILE, or --pairs FILE)."]


# ---- next


def rows_needed(n: int, std_error: float, count: int = 2, step: float = _POINT) -> float:
    """Rows from which on a paired difference of `step` is significant, as in `standings`.

    The standard error falls as 1 / sqrt(rows), so that rows = n (z error / step)^2, where z is the
    normal quantile of 5% for all pairs of the checkpoints together (Bonferroni).

    Args:
        n: rows now.
        std_error: of the difference, with these rows.
        count: number of checkpoints.
        step: the difference.

    Returns:
        The number, rounded to one digit.

    >>> rows_needed(2000, 0.0125), rows_needed(2000, 0.0125, count=8)
    (10000.0, 30000.0)
    """
    pairs = count * (count - 1) // 2
    z = statistics.NormalDist().inv_cdf(1.0 - 0.5 * SIGNIFICANT / pairs)
    needed = n * (z * std_error / step) ** 2
    if needed <= 0.0:
        return 0.0
    digits = math.floor(math.log10(needed))
    return float(round(needed, -digits))


def _next(document: Document, deciding: Sequence[_Choice]) -> str:
    """More rows where a point cannot be told, and further seeds of those that are left."""
    names = short_names(document)
    parts = []
    for choice in deciding:
        if choice.headline.metric in ACCURACIES:
            errors = [
                _half_width(choice.rows[source]) / _QUANTILE
                for source in choice.those("tied")
                if not document.variants.get(source)
            ]
            n = document.n_rows.get(choice.best, 0)
            if any(errors):
                error = statistics.median(error for error in errors if error)
                needed = rows_needed(n, error, len(choice.rows))
                parts.append(
                    f"to establish a difference of 1 point in {choice.headline.title}, about "
                    f"{needed:,.0f} rows are needed (errors fall as 1/√rows)"
                    if needed > n
                    else "these rows are enough to establish a difference of 1 point in "
                    f"{choice.headline.title}"
                )
            break
    best = [source for choice in deciding for source in choice.those("best")]
    worse = {source for choice in deciding for source in choice.those("worse")}
    tied = [source for choice in deciding for source in choice.those("tied")]
    left = list(dict.fromkeys((*best, *(source for source in tied if source not in worse))))
    left = [source for source in left if not is_collapsed(document, source)]
    named = [source for source in left if not document.variants.get(source)][:_SEEDS]
    if not any(choice.headline.metric in ACCURACIES for choice in deciding):
        parts = [_without_accuracy(document)]
    elif named:
        axis = axis_of(document)
        of_one_run = axis is not None and axis.name != TEMPERATURE
        what = "the run" if of_one_run else ", ".join(names[source] for source in named)
        parts.append(f"train {what} with further seeds: errors here are over rows of one run")
    return f"{first_upper('; '.join(parts))} {GUIDE}".strip()


def _half_width(row: Row) -> float:
    """Half the 95% interval of a difference, which few degrees of freedom make wide."""
    low, high = row["low"], row["high"]
    return 0.0 if low is None or high is None else 0.5 * (float(high) - float(low))


_QUANTILE = 1.96
"""Standard errors in half a 95% interval of many rows."""


def _without_accuracy(document: Document) -> str:
    measured = {record.metric for record in document.results}
    if measured & _OF_CLASSES and _without_labels(document):
        return "give every checkpoint labels: accuracies decide best"
    if document.n_classes:
        return "measure kNN accuracy and the linear probe: compare with these, or report"
    return (
        "without labels take, of finished runs of one recipe, the most uniform one whose effective "
        "rank is near the highest; an encoder that has learned nothing is more uniform still"
    )


# ---- one checkpoint


def _single(document: Document, source: str) -> list[Sentence]:
    """One checkpoint beside the uniform sphere, its accuracies, its health and what is next."""
    found = []
    gap = document.record("uniformity_gap", source=source)
    if gap is not None and gap.value is not None:
        found.append(Sentence("Beside the uniform sphere", _beside_the_sphere(gap, document)))
    accuracies = [
        f"{headline.title}: {value_text(record)}{_interval(record)}{_no_better(record, document)}"
        for headline in headlines(document)
        if headline.metric in ACCURACIES
        and (record := headline.find(document, source)) is not None
        and record.value is not None
    ]
    if accuracies:
        how = " (± one standard error)" if any("±" in text for text in accuracies) else ""
        found.append(Sentence("Accuracy", f"{'; '.join(accuracies)}{how}."))
    text = health(document, [source])
    skewness = document.record("hubness_skewness", source=source)
    if skewness is not None and skewness.value is not None:
        hubs = f"{hubs_in_words(skewness.value)} (skewness {value_text(skewness)})"
        text = f"{text} {first_upper(hubs)}".strip()
    if text:
        found.append(Sentence("Health", text))
    following = "Compare it with a reference on the same rows: cl-analyze compare REFERENCE FILE."
    if is_collapsed(document, source):
        following = "Look at the training first: other numbers of a collapsed encoder mean little."
    found.append(Sentence("Next", f"{following} {GUIDE}"))
    return found


def _beside_the_sphere(gap: Record, document: Document) -> str:
    """The gap to the uniform sphere, and what the guide calls healthy."""
    text = meaning(gap, document).partition(";")[0].rstrip(".")
    value = gap.value or 0.0
    if value >= _COLLAPSED_GAP:
        text += ", as far as collapsed encoders are"
    elif value > _HEALTHY_GAP:
        text += ", more than the one nat that is usual up to τ 1.0"
    elif value > 0.0:
        text += "; up to one nat is usual"
    return f"{text}."


_HEALTHY_GAP, _COLLAPSED_GAP = 1.0, 2.0
"""Nats: docs/guide.md, section 2."""


def _interval(record: Record) -> str:
    """The standard error of an accuracy, or its 95% interval beside 0 and 1, in per cent."""
    if record.is_beside_an_end and record.interval is not None:
        return " (95%: {:.1f}% to {:.1f}%)".format(*(100 * end for end in record.interval))
    error = record.total_error
    return f" ± {100 * error:.1f}" if error else ""
