"""Lists on the command line: `--tau 0.07 0.2 0.5`, `--tau 0.07,0.2`, `--tau 0.07 --tau 0.2`.

`ListCommand` rewrites a command's own tokens before Typer parses them: a list option takes the
tokens after it for as long as they convert, so that a file name that follows is never swallowed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from typer.core import TyperCommand

from cl_analyze.errors import ConfigError

FORMATS = ("png", "svg", "pdf")
_NUMBER = re.compile(
    r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|nan|inf|infinity)\Z", re.IGNORECASE
)
_NUMBER_LISTS = frozenset({"--tau", "--t", "--batch-size", "--k"})
_EXAMPLES = {"--k": "1 10 20", "--batch-size": "64 256", "--t": "1 2 3"}
FAMILIES = ("uniformity", "tolerance", "similarity", "penalty", "losses", "quality")
_WORD_LISTS = {"--format": frozenset(FORMATS), "--metrics": frozenset(FAMILIES)}


def is_number(token: str) -> bool:
    """Whether a token is a number for the command line: nan and inf too, but not 1_0.

    >>> [is_number(token) for token in ("0.07", "-1e3", "nan", ".5", "1_0", "0.npy", "")]
    [True, True, True, True, False, False, False]
    """
    return _NUMBER.match(token) is not None


def parse_numbers(option: str, tokens: Sequence[str] | None) -> tuple[float, ...] | None:
    """Tokens of a list option as numbers > 0, repeats dropped; None where there are none.

    Raises:
        ConfigError: not a number, not finite, or not > 0.
    """
    if not tokens:
        return None
    numbers = []
    for token in tokens:
        if not is_number(token):
            example = _EXAMPLES.get(option, "0.07 0.2 0.5")
            raise ConfigError(f"{option}: {token!r} is not a number; write {option} {example}")
        value = float(token)
        if not 0 < value < float("inf"):
            raise ConfigError(f"{option} must be finite and > 0, found {token}")
        numbers.append(value)
    return tuple(dict.fromkeys(numbers))


def _converts(option: str, token: str) -> bool:
    parts = [part for part in token.split(",") if part] or [token]
    if option in _WORD_LISTS:
        return all(part in _WORD_LISTS[option] for part in parts)
    return all(is_number(part) for part in parts)


def rewrite(arguments: Sequence[str], lists: frozenset[str], valued: frozenset[str]) -> list[str]:
    """Spell every list as repeated options.

    Args:
        arguments: the command's tokens.
        lists: its list options.
        valued: its options that take one value, whose value is never looked at.

    Raises:
        ConfigError: a number where a file belongs.

    >>> rewrite(["--tau", "0.07", "0.2", "emb.npy"], frozenset({"--tau"}), frozenset())
    ['--tau', '0.07', '--tau', '0.2', 'emb.npy']
    >>> rewrite(["--tau=0.07,0.2", "emb.npy"], frozenset({"--tau"}), frozenset())
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
            taken = []
            while position < len(arguments) and _converts(name, arguments[position]):
                taken.append(arguments[position])
                position += 1
            if taken:
                out += _repeated(name, taken)
            else:  # no value, or one that is none: the parser says so
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
            if last_list:
                option = last_list.partition("=")[0]
                hint = f"a list has no '=': write {last_list.replace('=', ' ')} {token}; {hint}"
                hint = hint if option in _NUMBER_LISTS else "a file so named needs ./ in front"
            raise ConfigError(f"{token!r} is a number, not a file; {hint}")
        out.append(token)
    return out


def _repeated(option: str, tokens: Sequence[str]) -> list[str]:
    parts = [part for token in tokens for part in token.split(",") if part or token == ""]
    return [item for part in parts for item in (option, part)]


class ListCommand(TyperCommand):
    """A Typer command whose list options take several values in every usual spelling."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Rewrite the tokens, then parse them as Typer does."""
        lists: set[str] = set()
        valued: set[str] = set()
        for param in self.params:
            if param.param_type_name != "option" or getattr(param, "is_flag", False):
                continue
            for name in param.opts:
                is_list = name in _NUMBER_LISTS or name in _WORD_LISTS
                (lists if is_list else valued).add(name)
        if not ctx.resilient_parsing:
            self._refuse_other_commands_options(ctx, args, valued)
        try:
            args = rewrite(args, frozenset(lists), frozenset(valued))
        except ConfigError as error:
            if not ctx.resilient_parsing:  # shell completion must not fail on half a line
                ctx.fail(str(error))
        return super().parse_args(ctx, args)

    def _refuse_other_commands_options(self, ctx: Any, args: list[str], valued: set[str]) -> None:
        """Fail for an option that this command lacks and others have, naming these."""
        own = _option_names(self)
        commands = getattr(getattr(ctx.parent, "command", None), "commands", {})
        position = 0
        while position < len(args) and args[position] != "--":
            name, equals, _ = args[position].partition("=")
            position += 2 if name in valued and not equals else 1
            if not name.startswith("--") or name in own:
                continue
            others = [title for title, other in commands.items() if name in _option_names(other)]
            if others:
                ctx.fail(f"No such option: {name} (it is one of {', '.join(others)})")


def _option_names(command: Any) -> set[str]:
    """Every spelling of a command's options."""
    names = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
    return {"--help", *names}
