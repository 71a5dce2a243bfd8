"""Tables, notes and progress as text: stdout is data, stderr is talk."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import textwrap
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

from cl_analyze.errors import ConfigError
from cl_analyze.quoting import printable, without_secrets
from cl_analyze.tables import Cell, Param, Record, number_text

if TYPE_CHECKING:
    from cl_analyze.checks import Check
    from cl_analyze.document import Document


def wrapped(
    text: str, width: int = 80, initial_indent: str = "", subsequent_indent: str = ""
) -> list[str]:
    """A text in lines of at most `width`; paths and names are never broken, at hyphens neither.

    >>> wrapped("the file epoch-12-step-100.npy", 12)
    ['the file', 'epoch-12-step-100.npy']
    """
    return textwrap.wrap(
        text,
        width,
        initial_indent=initial_indent,
        subsequent_indent=subsequent_indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def record_lines(records: Sequence[Record], document: Document) -> list[str]:
    """Some of a document's records, aligned, grouped by source under a heading line."""
    rows: list[tuple[str, str, str, str, str]] = []
    for record in records:
        params = _param_text(record)
        if record.value is None:
            rows.append((record.name, params, "undefined", "", f"({record.reason})"))
            continue
        digits = [error for error in (record.std_error, record.sampling_error) if error]
        value = number_text(record.value, min(digits) if digits else None)
        rows.append(
            (
                record.name,
                params,
                value,
                record.error_text,
                _UNIT_TEXT.get(record.unit, record.unit),
            )
        )
    widths = [max((len(row[c]) for row in rows), default=0) for c in range(4)]
    lines: list[str] = []
    source = None
    for record, row in zip(records, rows, strict=True):
        if record.source != source:
            source = record.source
            dims = "" if record.d is None else f"  d={record.d}"
            rows_of = f"n={record.n}"
            if source in document.n_anchors and not record.exact:
                n_anchors = document.n_anchors[source]
                rows_of = f"n={document.n_rows[source]} (estimated from {n_anchors} anchors)"
            lines += [""] * bool(lines) + [f"{source}  {rows_of}{dims}"]
        parts = [row[0].ljust(widths[0])]
        if widths[1]:
            parts.append(row[1].ljust(widths[1]))
        parts += [row[2].rjust(widths[2]), row[3].ljust(widths[3]), row[4]]
        lines.append(("  " + "  ".join(parts)).rstrip())
    return lines


def loss_lines(records: Sequence[Record], document: Document) -> list[str]:
    """The losses: a line for each loss and temperature with its parts, and how to read it."""
    lines: list[str] = []
    for source in dict.fromkeys(record.source for record in records):
        own = [record for record in records if record.source == source]
        others = [r for r in own if r.metric not in (*_PARTS, *_ENERGIES, "loss")]
        heading = record_lines(others[:1], document)[0]
        lines += [*[""] * bool(lines), heading, *_loss_table(own), *_batch_table(document, source)]
        for metric in dict.fromkeys(record.metric for record in others):
            lines += record_lines([r for r in others if r.metric == metric], document)[1:]
        lines += _energy_table(own)
    return lines


def quality_lines(records: Sequence[Record], document: Document) -> list[str]:
    """Quality: the verdict, then what has one value for each spectrum, k or form side by side."""
    lines: list[str] = []
    for source in dict.fromkeys(record.source for record in records):
        own = [record for record in records if record.source == source]
        lines += [*[""] * bool(lines), _heading(source, own[0].d, document)]
        lines += verdict_lines(source, document)
        by_k = [record for record in own if "k" in record.params]
        placed = {id(record) for record in by_k}
        for columns in (_SPECTRA, _CENTRES, _FORMS):
            chosen = {}
            for record in own:
                at = _place(record, columns)
                if at is not None and id(record) not in placed:
                    chosen[at] = record
            placed |= {id(record) for record in chosen.values()}
            lines += _matrix(chosen, columns)
            if columns is _SPECTRA:
                ks = sorted({int(record.params["k"]) for record in by_k})
                at_k = {(_name_with_k(r), str(r.params["k"])): r for r in by_k}
                for start in range(0, len(ks), _COLUMNS):
                    part = [str(k) for k in ks[start : start + _COLUMNS]]
                    lines += _matrix(
                        {at: r for at, r in at_k.items() if at[1] in part}, part, "k ="
                    )
        rest = [record for record in own if id(record) not in placed]
        lines += [""] * bool(rest)
        names = [f"{r.name} {_param_text(r)}".rstrip() for r in rest]
        width = max(map(len, names), default=0)
        for record, name in zip(rest, names, strict=True):
            unit = _UNIT_TEXT.get(record.unit, record.unit) if record.value is not None else ""
            text = f"  {name.ljust(width)}  {_short_cell(record):>15}  {unit}".rstrip()
            lines.append(text)
            lines += _reasons([record])
    return lines


def comparison_lines(document: Document) -> list[str]:
    """Headline numbers side by side, a line for each checkpoint, then what is real in words."""
    from cl_analyze.differences import is_real, params_text
    from cl_analyze.report.comparison import pareto_sentence, reference_of, told_apart
    from cl_analyze.report.headlines import headlines

    reference = reference_of(document)
    rows = {
        (row["source_a"], row["metric"], row["definition"], row["params"]): row
        for row in document.rows("compare")
    }
    axis = {row["source"]: row for row in document.rows("checkpoints")}
    shown = _shortened(list(document.sources), 30)
    lines: list[str] = []
    listed = headlines(document)
    for start in range(0, len(listed), _SIDE_BY_SIDE):
        part = listed[start : start + _SIDE_BY_SIDE]
        table = [["", *(headline.title for headline in part)]]
        for source in document.sources:
            cells = []
            for headline in part:
                record = headline.find(document, source)
                if record is None:
                    cells.append("")
                    continue
                row = rows.get((source, record.metric, record.definition, params_text(record)))
                mark = " "
                if row is not None and row["p_holm"] is not None:
                    mark = "*" if is_real(row["p_holm"]) else "~"
                cells.append(_short_cell(record) + mark)
            table.append([shown[source], *cells])
        lines += [*[""] * bool(lines), *_wrapped_table(table)]
    lines.append("")
    n_tested = sum(row["p_holm"] is not None for row in rows.values())
    lines += wrapped(
        f"* differs from {reference} beyond noise (Holm-adjusted p < 0.05 over {n_tested} "
        "differences), ~ is not established; ± is one standard error. More negative uniformity is "
        "more uniform.",
        80,
    )
    others = [source for source in document.sources if source != reference]
    told_of = others
    if len(others) > _MOST_TOLD:  # of a run the end
        told_of = others[-_MOST_TOLD:] if axis[others[0]]["x"] is not None else others[:_MOST_TOLD]
    for source in told_of:
        told = told_apart(document, source)
        where = axis[source]
        at = "" if where["x"] is None else f" ({where['axis']} {where['x']:g})"
        lines += ["", f"{source}{at} against {reference}"]
        for sentence in told.sentences():
            lines += wrapped(sentence, 80, initial_indent="  ", subsequent_indent="    ")
    if len(others) > len(told_of):
        lines += ["", f"{len(others) - len(told_of)} more checkpoints: compare.csv, compare.html"]
    text = pareto_sentence(document, shown)
    if text:
        lines += ["", *wrapped(text, 80, subsequent_indent="  ")]
    return lines


def check_lines(checks: Sequence[Check], verdict: str) -> list[str]:
    """A line for each check and one for why, under its checkpoint; the verdict last."""
    from cl_analyze.checks.judge import counts_text

    lines: list[str] = []
    source = None
    for check in checks:
        if check.record.source != source:
            source = check.record.source
            lines += [*[""] * bool(lines), source]
        lines += wrapped(
            f"{check.verdict:<12}  {check.name}",
            78,
            initial_indent="  ",
            subsequent_indent=" " * 16,
        )
        lines += wrapped(check.text, 78, initial_indent=" " * 16, subsequent_indent=" " * 16)
    return [*lines, "", f"{verdict}: {counts_text(checks)}"]


_SIDE_BY_SIDE, _MOST_TOLD = 4, 8


def _shortened(names: Sequence[str], most: int) -> dict[str, str]:
    """Names by themselves, of long ones the end, where these tell all apart."""
    short = {name: name if len(name) <= most else f"…{name[1 - most :]}" for name in names}
    return short if len(set(short.values())) == len(names) else {name: name for name in names}


def _wrapped_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """A table whose heads are broken into words above their columns."""
    widths = [max(len(row[c]) for row in rows[1:]) for c in range(len(rows[0]))]
    heads = [wrapped(text, max(widths[c], 11)) or [""] for c, text in enumerate(rows[0])]
    widths = [max(w, *(len(t) for t in head)) for w, head in zip(widths, heads, strict=True)]
    depth = max(len(head) for head in heads)
    heads = [[""] * (depth - len(head)) + head for head in heads]
    table = [[head[i] for head in heads] for i in range(depth)] + [list(row) for row in rows[1:]]
    return [
        "  ".join(
            text.ljust(widths[c]) if c == 0 else text.rjust(widths[c]) for c, text in enumerate(row)
        ).rstrip()
        for row in table
    ]


def verdict_lines(source: str, document: Document) -> list[str]:
    """The verdict on collapse, where there is one."""
    return [
        line
        for row in document.rows("collapse", source=source)
        for line in wrapped(str(row["text"]), 80, initial_indent="  ", subsequent_indent="    ")
    ]


_UNIT_TEXT = {"none": "", "dimensions": "dims", "accuracy": ""}
_SPECTRA = ("raw", "raw_centred", "normalised", "normalised_centred")
_CENTRES = ("raw", "raw_balanced", "normalised", "normalised_balanced")
_FORMS = ("raw", "normalised")
_COLUMNS = 4
_FORM_OF = {
    "raw": ("", "raw"),
    "normalised": ("", "normalised"),
    "standard": (" standard", "raw"),
    "directional": (" directional", "raw"),
    "standard_normalised": (" standard", "normalised"),
    "directional_normalised": (" directional", "normalised"),
    "class_sum": (" class_sum", "normalised"),
    "class_sum_raw": (" class_sum", "raw"),
}


def _place(record: Record, columns: Sequence[str]) -> tuple[str, str] | None:
    """Line and column of a record among such columns; None where it has no place there."""
    if columns is _FORMS:
        if record.definition not in _FORM_OF:
            return None
        suffix, column = _FORM_OF[record.definition]
        return record.metric + suffix, column
    from cl_analyze.metrics import METRICS

    if set(METRICS["quality"].definitions[record.metric]) != set(columns):
        return None
    return record.metric, str(record.definition)


def _name_with_k(record: Record) -> str:
    direction = record.params.get("direction")
    return record.metric if direction is None else f"{record.metric} {direction}"


def _param_text(record: Record) -> str:
    """A record's parameters; the vote's temperature is the same for all."""
    return " ".join(_param(key, v) for key, v in record.params.items() if key != "temperature")


def _heading(source: str, d: int | None, document: Document) -> str:
    n = f"n={document.n_rows.get(source, 0)}"
    if source in document.n_anchors:
        n += f" (estimated from {document.n_anchors[source]} anchors)"
    return f"{source}  {n}  d={d}"


def _matrix(
    records: Mapping[tuple[str, str], Record], columns: Sequence[str], corner: str = ""
) -> list[str]:
    """Values with their errors, one line for each name, one column for each of a few versions."""
    names = list(dict.fromkeys(name for name, _ in records))
    if not names:
        return []
    columns = [head for head in columns if any(column == head for _, column in records)]
    rows = [[corner, *(_HEADS.get(head, head) for head in columns)]]
    for name in names:
        found = [records.get((name, head)) for head in columns]
        rows.append([name, *("" if r is None else _short_cell(r) for r in found)])
    widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
    lines = [""]
    for row in rows:
        cells = (f" {text:>{width}}" for text, width in zip(row[1:], widths[1:], strict=True))
        lines.append(f"  {row[0].ljust(widths[0])}{''.join(cells)}".rstrip())
    return lines + _reasons(list(records.values()))


_HEADS = {"normalised_centred": "norm_centred", "normalised_balanced": "norm_balanced"}


def _reasons(records: Sequence[Record]) -> list[str]:
    """Why there is no value, each reason once."""
    found: dict[tuple[str, str], list[str]] = {}
    for record in records:
        if record.reason is not None:
            version = record.definition or _param_text(record)
            found.setdefault((record.metric, record.reason), []).append(version)
    lines = []
    for (metric, reason), versions in found.items():
        which = f" [{', '.join(versions)}]" if any(versions) else ""
        lines += wrapped(
            f"{metric}{which}: {reason}", 80, initial_indent="    ", subsequent_indent="      "
        )
    return lines


def _short_cell(record: Record) -> str:
    if record.value is None:
        return "undefined"
    error = record.total_error
    if record.is_beside_an_end:
        return f"{record.value:.4g} {record.error_text}"
    if not error or error < 1e-9 * abs(record.value):  # rounding is no spread
        return f"{record.value:.4g}"
    # the last digit that is shown is the error's first
    value = number_text(record.value, 10 * error)
    _, point, decimals = value.partition(".")
    if "e" in value or not point:
        return f"{value}±{error:.1g}"
    return f"{value}±{error:.{len(decimals)}f}"


def _energy_table(records: Sequence[Record]) -> list[str]:
    """Energies of both views beside their reference, a line for each kernel."""
    rows = [("hyperspherical energy", "view 1", "", "view 2", "", "reference", "")]
    for reference in records:
        if reference.metric != _ENERGIES[1]:
            continue
        row = [f"  {_param('t', reference.params['t'])} {reference.params['kernel']}"]
        for record in records:
            same = record.params.get("kernel") == reference.params["kernel"]
            if record.metric == _ENERGIES[0] and same:
                value = "undefined"
                if record.value is not None:
                    value = number_text(record.value, record.std_error or None)
                row += [value, f"± {record.std_error:.1g}" if record.std_error else ""]
        least = "infinite" if reference.value is None else f"{reference.value:.6g}"
        rows.append((*row, least, str(reference.definition).replace("_", " ")))  # type: ignore[arg-type]
    widths = [max(len(row[c]) for row in rows) for c in range(7)]
    sides = (str.ljust, str.rjust, str.ljust, str.rjust, str.ljust, str.rjust, str.ljust)
    return [
        "  " + "  ".join(side(row[c], widths[c]) for c, side in enumerate(sides)).rstrip()
        for row in rows
    ]


def _loss_table(records: Sequence[Record]) -> list[str]:
    """Value, error and parts of each loss under its name and how to read it."""
    from cl_analyze.metrics.losses.readings import READINGS

    parts = {_loss_key(record): record for record in records if record.metric in _PARTS}
    rows: list[tuple[str, ...]] = [("", "loss", "", "alignment", "uniformity")]
    titles = [""]
    for record in records:
        if record.metric != "loss" or "batch_size" in record.params:
            continue
        params = " ".join(_param(k, v) for k, v in record.params.items() if k != "name")
        _, definition, key = _loss_key(record)
        cells = [_part_text(parts.get((metric, definition, key))) for metric in _PARTS]
        value, error = "undefined", f"({record.reason})"
        if record.value is not None:
            digits = [e for e in (record.std_error, record.sampling_error) if e]
            value = number_text(record.value, min(digits) if digits else None)
            error = record.error_text
        rows.append((params, value, error, *cells))
        text = READINGS.get((str(record.params["name"]), record.definition), "")
        titles.append(f"{_loss_name(record)}: {text}")
    shown = [row for row in rows if not row[2].startswith("(")]
    widths = [max(len(row[c]) for row in shown) for c in range(5)]
    block: list[str] = []
    before = ""
    for title, row in zip(titles, rows, strict=True):
        if title != before:
            block += wrapped(title, 80, initial_indent="  ", subsequent_indent="      ")
        before = title
        if row[2].startswith("("):  # a reason is longer than a column
            block += wrapped(
                f"{row[0]}  {row[1]} {row[2]}".strip(),
                78,
                initial_indent="    ",
                subsequent_indent="      ",
            )
            continue
        sides = (str.ljust, str.rjust, str.ljust, str.rjust, str.rjust)
        line = "  ".join(side(row[c], widths[c]) for c, side in enumerate(sides))
        block.append(f"    {line}".rstrip())
    return block


def _batch_table(document: Document, source: str) -> list[str]:
    """L - log K over batches, a column for each size, and the limit that all rows give."""
    table = document.rows("loss_batch", source=source)
    if not table:
        return []
    sizes = sorted({int(str(row["batch_size"])) for row in table})
    default: dict[Cell, Cell] = {}
    cells: dict[tuple[str, str], list[str]] = {}
    for row in table:
        if default.setdefault(row["name"], row["definition"]) != row["definition"]:
            continue
        tau = "" if row["tau"] is None else _param("tau", float(str(row["tau"])))
        line = cells.setdefault((str(row["name"]), tau), [""] * (len(sizes) + 1))
        line[sizes.index(int(str(row["batch_size"])))] = f"{row['normalised']:.4g}"
        line[-1] = "" if row["limit"] is None else f"{row['limit']:.4g}"
    rows = [("batch size", "", *map(str, sizes), "limit")]
    rows += [(*key, *line) for key, line in cells.items()]
    widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
    return [
        "  mean over batches less log K (errors, other definitions: loss_batch.csv)",
        *(
            "    "
            + "  ".join(
                text.ljust(width) if c < 2 else text.rjust(width)
                for c, (text, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        ),
    ]


def _loss_name(record: Record) -> str:
    name = str(record.params["name"])
    return name if record.definition is None else f"{name}[{record.definition}]"


def _loss_key(record: Record) -> tuple[str, str | None, tuple[tuple[str, Param], ...]]:
    return record.metric, record.definition, tuple(record.params.items())


_PARTS = ("loss_alignment", "loss_uniformity")
_ENERGIES = ("hyperspherical_energy", "hyperspherical_energy_reference")


def _part_text(record: Record | None) -> str:
    return "" if record is None or record.value is None else f"{record.value:.5g}"


def _param(key: str, value: float | int | str) -> str:
    """One parameter; a group is clear without its key."""
    if key == "group":
        return str(value)
    return f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}"


class ReaderGoneError(Exception):
    """Whoever read standard output has what they wanted (| head)."""


def write_lines(lines: Iterable[str]) -> None:
    """Lines on stdout, each on one line whatever names are in it; see `write_text`."""
    write_text("\n".join(map(printable, lines)) + "\n")


def write_text(text: str) -> None:
    """Text on stdout; a terminal gets bold source lines, an ASCII one +- for the sign ±.

    Raises:
        ReaderGoneError: stdout is a pipe that was closed.
        ConfigError: stdout cannot be written (a full disk).
    """
    stream = sys.stdout
    encoding = stream.encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.replace("±", "+-").encode(encoding, "backslashreplace").decode(encoding)
    try:
        if stream.isatty() and "NO_COLOR" not in os.environ:
            from rich.console import Console
            from rich.text import Text

            console = Console(soft_wrap=True, highlight=False)
            for line in text.rstrip("\n").split("\n"):
                console.print(Text(line, style="" if line.startswith(" ") else "bold"))
        else:
            stream.write(text)
        stream.flush()
    except BrokenPipeError as error:
        raise ReaderGoneError from error
    except OSError as error:
        raise ConfigError(f"cannot write standard output: {error.strerror or error}") from error


_LONGEST = 4_000
"""Characters of a message: a file may have any number of names."""


def shown(message: str) -> str:
    """A message on one line, of bounded length, without control characters and passwords.

    >>> shown("a" * 5000)[1990:2010]
    'aaaaaaaaaa [...] aaa'
    """
    text = printable(without_secrets(message))
    if len(text) > _LONGEST:
        return f"{text[: _LONGEST // 2]} [...] {text[-_LONGEST // 2 :]}"
    return text


class Talk:
    """Notes, warnings and progress on stderr.

    Progress appears for passes of more than a second: in place on a terminal, a line every ten
    seconds in a log.

    Args:
        quiet: say nothing but errors.
        verbose: say also what was chosen and how long passes took.
        stream: where to; default stderr.
    """

    def __init__(
        self, quiet: bool = False, verbose: bool = False, stream: TextIO | None = None
    ) -> None:
        self._quiet = quiet
        self._verbose = verbose
        self._stream = stream if stream is not None else sys.stderr
        self._live = self._stream.isatty() and not os.environ.get("CI")
        self._stage, self._said, self._before = "", False, 0
        self._started = self._last = time.monotonic()
        self._shown = 0

    def say(self, text: str) -> None:
        """One line."""
        if not self._quiet:
            self._write(f"{shown(text)}\n", clear=True)

    def command(self, text: str) -> None:
        """A line for whoever runs this, said even where talk is not wanted."""
        self._write(f"{printable(text)}\n", clear=True)

    def note(self, text: str) -> None:
        """Something that was chosen."""
        self.say(f"note: {text}")

    def warn(self, text: str) -> None:
        """Something about the inputs."""
        self.say(f"warning: {text}")

    def stage(self, text: str) -> None:
        """A new pass begins."""
        now = time.monotonic()
        if self._verbose and self._stage:
            self.say(f"{self._stage}: {now - self._started:.2f} s")
        self._clear()
        self._stage, self._said, self._before = shown(text), False, 0
        self._started = self._last = now

    def progress(self, done: int, total: int) -> None:
        """Pairs done in this pass."""
        now = time.monotonic()
        elapsed = now - self._started
        wait = 0.2 if self._live else 10.0 if self._said else 1.0
        if self._quiet or elapsed < 1.0 or now - self._last < wait:
            return
        self._last, self._said = now, True
        rate = (done - self._before) / elapsed  # what an earlier run did took no time of this one
        left = (total - done) / rate if rate else math.inf
        text = f"{self._stage}  {100 * done / total:.0f}%  {rate:.3g} pairs/s  {left:.0f} s left"
        self._write(text if self._live else f"{text}\n", clear=True)
        self._shown = len(text) if self._live else 0

    def resumed(self, done: int, total: int) -> None:
        """Pairs of this pass that an earlier run has done already."""
        self._before = done
        self.note(f"{self._stage}: goes on from {100 * done / total:.0f}%, which --resume has kept")

    def close(self) -> None:
        """The last pass is over."""
        self.stage("")

    def _clear(self) -> None:
        if self._shown:
            shown, self._shown = self._shown, 0
            self._write("\r" + " " * shown + "\r")

    def _write(self, text: str, clear: bool = False) -> None:
        """Write, or let it be: talk that cannot be heard is no reason to stop."""
        if clear:
            self._clear()
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()
