"""Lists on the command line: `--tau 0.07 0.2 0.5`, `--tau 0.07,0.2`, `--tau 0.07 --tau 0.2`.

`ListCommand` rewrites the tokens of a command before Typer parses them.  A list option takes the
following tokens as long as they are values of the option, so it never takes a file name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from typer.core import TyperCommand

from cl_analyze.cli.help import HELP, HELP_ALL
from cl_analyze.errors import ConfigError
from cl_analyze.options import DECLARING
from cl_analyze.options.commands import EVERY
from cl_analyze.options.declaration import OUTPUT, Option, options_for, options_of
from cl_analyze.options.kinds import Flag, Kind, Numbers, Place, is_number
from cl_analyze.quoting import nearest, printable


def rewrite(
    arguments: Sequence[str], lists: Mapping[str, Kind], valued: frozenset[str]
) -> list[str]:
    """Rewrite every list as repeated options.

    Args:
        arguments: tokens of the command.
        lists: kinds of the list options, by flag.
        valued: flags of the options with one value; their values are not rewritten.

    Raises:
        ConfigError: a number stands in place of a file.

    >>> tau = {"--tau": Numbers()}
    >>> rewrite(["--tau", "0.07", "0.2", "emb.npy"], tau, frozenset())
    ['--tau', '0.07', '--tau', '0.2', 'emb.npy']
    >>> rewrite(["--tau=0.07,0.2", "emb.npy"], tau, frozenset())
    ['--tau', '0.07', '--tau', '0.2', 'emb.npy']
    """
    out: list[str] = []
    position = 0
    last_list = ""
    while position < len(arguments):
        token = arguments[position]
        position += 1
        if token == "--":
            return [*out, token, *arguments[position:]]
        name, equals, value = token.partition("=")
        if token.startswith("--") and name in lists:
            last_list = token if equals else ""
            if equals:
                out += _repeated(name, [value])
                continue
            values = []
            while position < len(arguments) and lists[name].is_value(arguments[position]):
                values.append(arguments[position])
                position += 1
            if values:
                out += _repeated(name, values)
            else:  # no valid value: the parser reports the error
                out.append(token)
                if position < len(arguments) and not arguments[position].startswith("-"):
                    out.append(arguments[position])
                    position += 1
            continue
        if token in valued and position < len(arguments):
            out += [token, arguments[position]]
            position += 1
            continue
        if is_number(token):
            hint = "a file so named needs ./ in front"
            if last_list and isinstance(lists[last_list.partition("=")[0]], Numbers):
                hint = f"a list has no '=': write {last_list.replace('=', ' ')} {token}; {hint}"
            raise ConfigError(f"{token!r} is a number, not a file; {hint}")
        out.append(token)
    return out


def _repeated(option: str, tokens: Sequence[str]) -> list[str]:
    parts = [part for token in tokens for part in token.split(",") if part or token == ""]
    return [item for part in parts for item in (option, part)]


SYNONYMS = {"--temperature": "--tau", "--temperatures": "--tau", "--temp": "--tau"}
"""Options by the names that people try, where spelling does not lead to them."""
IS_WHOLE = "cl_analyze.help_all"
"""Key of the context's `meta`: whether `--help-all` was typed, not `--help`."""


class ListCommand(TyperCommand):
    """A Typer command whose list options take several values in every usual spelling."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Rewrite the tokens, then let Typer parse them."""
        kinds = {
            flag: declared.kind
            for declared in options_for(self.name or "", DECLARING)
            for flag in declared.flags
            if not isinstance(declared.kind, Flag)
        }
        lists = {flag: kind for flag, kind in kinds.items() if kind.is_list}
        valued = set(kinds) - set(lists)
        if not ctx.resilient_parsing:
            self._refuse_unknown_options(ctx, args, valued)
        typed = args[: args.index("--")] if "--" in args else args
        ctx.meta[IS_WHOLE] = HELP_ALL in typed
        try:
            args = rewrite(args, lists, frozenset(valued))
        except ConfigError as error:
            if not ctx.resilient_parsing:  # shell completion must not fail on half a line
                ctx.fail(str(error))
        return super().parse_args(ctx, args)

    def _refuse_unknown_options(self, ctx: Any, args: list[str], valued: set[str]) -> None:
        """Fail for an option that the command does not have; the message says what to do."""
        position, known = 0, _option_names(self)
        while position < len(args) and args[position] != "--":
            token = args[position]
            name, equals, _ = token.partition("=")
            position += 2 if name in valued and not equals else 1
            if not name.startswith("--"):  # -v, or -vq, or -lFILE
                name = token[:2]
            if len(name) > 1 and name[0] == "-" and name not in known and not is_number(token):
                ctx.fail(unknown_option(self.name or "", printable(name)))


def unknown_option(command: str, name: str) -> str:
    """The message on an option that a command does not have: who has it, or the nearest name.

    >>> unknown_option("penalty", "--tua")
    "unknown option --tua; did you mean '--tau'?"
    >>> unknown_option("inspect", "--t")
    'inspect has no --t: it is an option of uniformity, compare and report'
    >>> unknown_option("check", "--out")
    'check has no --out; it writes files with --save-baseline, --junit and --markdown'
    >>> unknown_option("penalty", "--temperature")
    "unknown option --temperature; did you mean '--tau'?"
    >>> unknown_option("uniformity", "--batchsize")
    "unknown option --batchsize; did you mean '--batch-size'? It is an option of losses"
    """
    own = options_for(command, DECLARING)
    declared = [option for each in DECLARING for option in options_of(each).values()]
    same = [option for option in declared if name in (*option.flags, option.off_flag)]
    if same:
        instead = [
            option.flag
            for option in own
            if option.panel == OUTPUT == same[0].panel
            and isinstance(option.kind, Place)
            and isinstance(same[0].kind, Place)
        ]
        if instead:
            return f"{command} has no {name}; it writes files with {_listed(instead)}"
        return f"{command} has no {name}: it is an option of {_commands_of(same)}"
    typed = SYNONYMS.get(name, name)
    suggestion = _nearest(typed, (HELP, HELP_ALL, *(option.flag for option in own)))
    if not suggestion and name.startswith("--"):
        suggestion = _nearest(typed, [option.flag for option in declared])
        meant = [option for option in declared if f"'{option.flag}'" in suggestion]
        suggestion += f" It is an option of {_commands_of(meant)}" if meant else ""
    if not suggestion:
        suggestion = f"; cl-analyze {command} {HELP_ALL} lists all options"
    return f"unknown option {name}{suggestion}"


def _nearest(name: str, flags: Iterable[str]) -> str:
    """See `nearest`; names are compared without dashes, which would make short ones alike."""
    words = [flag.removeprefix("--") for flag in flags]
    return nearest(name.lstrip("-"), words).replace("mean '", "mean '--")


def _commands_of(options: Sequence[Option]) -> str:
    """The commands that have one of these options, in a sentence."""
    return _listed([each for each in EVERY if any(each in option.commands for option in options)])


def _listed(names: Sequence[str]) -> str:
    """Names in a sentence: `a`, `a and b`, `a, b and c`."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _option_names(command: Any) -> set[str]:
    """All spellings of a command's options."""
    names = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
    return {"-h", HELP, HELP_ALL, *names}
