"""Lists on the command line: `--tau 0.07 0.2 0.5`, `--tau 0.07,0.2`, `--tau 0.07 --tau 0.2`.

`ListCommand` rewrites the tokens of a command before Typer parses them.  A list option takes the
following tokens as long as they are values of the option, so it never takes a file name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from typer.core import TyperCommand

from cl_analyze.errors import ConfigError
from cl_analyze.options import DECLARING
from cl_analyze.options.declaration import options_for
from cl_analyze.options.kinds import Flag, Kind, Numbers, is_number


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
            self._refuse_other_commands_options(ctx, args, valued)
        try:
            args = rewrite(args, lists, frozenset(valued))
        except ConfigError as error:
            if not ctx.resilient_parsing:  # shell completion must not fail on half a line
                ctx.fail(str(error))
        return super().parse_args(ctx, args)

    def _refuse_other_commands_options(self, ctx: Any, args: list[str], valued: set[str]) -> None:
        """Fail for an option of other commands; the message names these commands."""
        own_options = _option_names(self)
        commands = getattr(getattr(ctx.parent, "command", None), "commands", {})
        position = 0
        while position < len(args) and args[position] != "--":
            name, equals, _ = args[position].partition("=")
            position += 2 if name in valued and not equals else 1
            if not name.startswith("--") or name in own_options:
                continue
            other_commands = [
                title for title, other in commands.items() if name in _option_names(other)
            ]
            if other_commands:
                ctx.fail(f"No such option: {name} (it is one of {', '.join(other_commands)})")


def _option_names(command: Any) -> set[str]:
    """All spellings of a command's options."""
    names = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
    return {"--help", *names}
