"""The text of `--help` and `--help-all`, from the declared commands and options.

`--help` shows the options that are used most and fits on a screen; `--help-all` shows all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cl_analyze.cli.commands import COMMANDS, DECIDE, LOOK, MEASURE, Command
from cl_analyze.lines import UNBROKEN, wrapped
from cl_analyze.options.declaration import INPUTS, OUTPUT, PANELS, Option
from cl_analyze.options.kinds import Flag

HELP, HELP_ALL = "--help", "--help-all"
_WIDEST_PROSE = 98
"""Longer lines of running text are hard to read; lists take the whole terminal."""
_WIDEST_TERM = 24
_LONGEST_UNBROKEN = 30
HELP_OPTIONS = [("-h, --help", "Show the usual options"), (HELP_ALL, "Show all options")]
"""Spelling and description of the options for help that every command has."""

ABOUT = (
    "Measure saved contrastive embeddings. Every number has an error bar. Results go to stdout, "
    "files to --out, notes and errors to stderr."
)
ROOT_OPTIONS = [
    ("--version", "Show the version and the compiled kernels in use"),
    ("--install-completion", "Switch on completion in this shell"),
    ("--show-completion", "Print the script of this shell's completion"),
    ("-h, --help", "Show this message"),
    (HELP_ALL, "Show the help of every command, with all options"),
]
"""Spelling and description of the options of the program."""
_EXIT_CODES = (
    "Exit codes: 0 done, 1 a check failed, 2 could not judge (usage, unreadable or invalid data, "
    "internal error), 130 or 143 interrupted."
)


def root_help(width: int) -> str:
    """The help of the program: its commands by what people want, options and exit codes.

    Args:
        width: characters of a line at most.
    """
    parts = [["Usage: cl-analyze COMMAND [OPTIONS] FILE..."], _prose(ABOUT, width)]
    for group in (MEASURE, DECIDE, LOOK):
        rows = [(each.name, each.summary) for each in COMMANDS if each.group == group]
        parts.append([f"{group}:", *_rows(rows, width, len("uniformity"))])
    parts.append(["Options:", *_rows(ROOT_OPTIONS, width, _WIDEST_TERM)])
    return _joined([*parts, _prose(_EXIT_CODES, width, indent="")])


def command_help(command: Command, options: Sequence[Option], width: int, is_whole: bool) -> str:
    """The help of a command.

    Args:
        command: the command.
        options: its options.
        width: characters of a line at most.
        is_whole: whether to show all options, or those that are used most.
    """
    parts = [
        [f"Usage: cl-analyze {command.name} [OPTIONS] {command.files[0]}"],
        _prose(command.summary, width),
        _prose(command.text, width),
    ]
    if is_whole and command.more:
        parts.append(_prose(command.more, width))
    shown = [option for option in options if is_whole or command.name in option.common_in]
    panels = {panel: [_row(each) for each in shown if each.panel == panel] for panel in PANELS}
    panels[INPUTS].insert(0, (command.files[0].strip("[]"), command.files[1]))
    if is_whole:
        panels[OUTPUT] += HELP_OPTIONS
    widest = max(len(term) for rows in panels.values() for term, _ in rows)
    for panel, rows in panels.items():
        if rows:
            parts.append([f"{panel}:", *_rows(rows, width, min(widest, _WIDEST_TERM))])
    last = [*_example(command, width)]
    if is_whole:
        last += _prose(_OFF, width, indent="")
    else:
        last += _prose(_rest(command, options), width, indent="")
    return _joined([*parts, last])


_OFF = "A switch that a file of defaults turns on is turned off by --no-..., such as --no-json."


def _rest(command: Command, options: Sequence[Option]) -> str:
    """What `--help-all` shows beyond `--help`: the panels, with the number of further options."""
    hidden = [option.panel for option in options if command.name not in option.common_in]
    counts = [f"{panel} ({hidden.count(panel)})" for panel in PANELS if panel in hidden]
    return f"More options, by {HELP_ALL}: {', '.join(counts)}."


def _row(option: Option) -> tuple[str, str]:
    """Spelling and description of an option."""
    default = f"[default: {option.default_text}]" if option.default_text else ""
    if len(default) <= _LONGEST_UNBROKEN:
        default = default.replace(" ", UNBROKEN)
    spelling = f"{', '.join(option.flags)} {value_of(option)}".strip()
    return spelling, f"{option.help}  {default}".strip()


def value_of(option: Option) -> str:
    """The placeholder of an option's value: `TAU...`, `error|drop`; empty for a flag."""
    if isinstance(option.kind, Flag):
        return ""
    return option.kind.metavar or "|".join(option.kind.words)


def _rows(rows: Sequence[tuple[str, str]], width: int, term_width: int) -> Iterator[str]:
    """Two columns; a term that is too long has a line of its own."""
    indent = " " * (term_width + 4)
    for term, text in rows:
        lines = wrapped(text, width, indent, indent)
        if len(term) > term_width:
            yield f"  {term}"
        else:
            lines[0] = f"  {term:<{term_width}}  {lines[0].lstrip()}"
        yield from lines


def _example(command: Command, width: int) -> list[str]:
    """A command line that can be copied, continued where it is longer than a line."""
    text = f"Example: cl-analyze {command.example}"
    lines = [text] if len(text) <= width else wrapped(text, width - 2, "", "    ")
    return [f"{line} \\" for line in lines[:-1]] + lines[-1:]


def _prose(text: str, width: int, indent: str = "  ") -> list[str]:
    return wrapped(text, min(width, _WIDEST_PROSE), indent, indent)


def _joined(parts: Sequence[Sequence[str]]) -> str:
    return "\n\n".join("\n".join(part) for part in parts) + "\n"
