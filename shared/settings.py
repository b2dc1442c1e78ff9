"""A program's settings: command line > environment > TOML file > default.

Promises: a name that no option has is refused with the closest one that exists; every source is checked even
when a stronger one decides; no error repeats what was given. Must not read a file, the environment or the
command line: the caller hands over their contents.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from textwrap import wrap
from typing import Any, Final, Literal, TypeVar

from shared.errors import Malformed
from shared.options import Option, Value, is_service_link, toml_text

Action = Literal["run", "help", "version", "check"]
T = TypeVar("T")

PREFIXES: Final = ("PRIVYSEAL_MANAGER_", "PRIVYSEAL_DELEGATE_")
"""The daemons' variables, which the client's shorter prefix leaves alone."""

_SWITCHES: Final[Mapping[str, Action]] = {
    "--help": "help",
    "-h": "help",
    "--version": "version",
    "--check-config": "check",
}
_NAME = re.compile(r"[A-Za-z0-9_\-]{1,64}\Z")


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asks, before the TOML file is read; `config` is its path, if named."""

    action: Action
    config: str | None


@dataclass(frozen=True, slots=True)
class Settings:
    """Every option's value, and where it came from: `command line`, `environment`, `file` or `default`.

    Texts and paths are str, lists tuples of str, durations float seconds, sizes int bytes.
    """

    values: Mapping[str, Value]
    origins: Mapping[str, str]

    def get(self, name: str, kind: type[T]) -> T:
        """The value of an option that is always set. Raises TypeError when it isn't a `kind` (a bug)."""
        value = self.values[name]
        if not isinstance(value, kind):
            raise TypeError(f"the setting {name} is not a {kind.__name__}")
        return value

    def maybe(self, name: str, kind: type[T]) -> T | None:
        """The value of an option that may be unset. Raises TypeError as `get` does."""
        return None if self.values[name] is None else self.get(name, kind)

    def texts(self, name: str) -> tuple[str, ...]:
        """The value of a list option; empty when unset."""
        return self.maybe(name, tuple) or ()

    def listing(self) -> str:
        """For `--check-config`: a line for each option with its value and where that came from."""
        rows = [
            (name, "-" if value is None else toml_text(value), self.origins[name])
            for name, value in self.values.items()
        ]
        names, values = (max((len(row[column]) for row in rows), default=0) for column in (0, 1))
        return "".join(f"{name:<{names}}  {value:<{values}}  {origin}\n" for name, value, origin in rows)


@dataclass(frozen=True, slots=True)
class Program:
    """A program and its options. `prefix` begins its environment variables: `PRIVYSEAL_DELEGATE_`."""

    name: str
    prefix: str
    summary: str
    options: tuple[Option, ...]

    def __post_init__(self) -> None:
        if len({option.name for option in self.options}) < len(self.options):
            raise ValueError(f"two options of {self.name} have one name")

    def request(self, argv: Sequence[str], environ: Mapping[str, str]) -> Request:
        """What to do, and the TOML file to read first; `argv` lacks the program name. Raises Malformed."""
        action, config, _ = self._flags(argv)
        return Request(action, config or environ.get(self.prefix + "CONFIG") or None)

    def parse(self, argv: Sequence[str], environ: Mapping[str, str], toml: str | None) -> Settings:
        """All settings; `toml` is the file's text, None when there is none. Raises Malformed.

        Each source is checked even when a stronger one decides: a mistake is told now, not on the day when
        the stronger one goes.
        """
        _, _, flags = self._flags(argv)
        variables = self._variables(environ)
        keys = parse_toml(toml or "", "settings")
        refuse_unknown(keys, [option.name for option in self.options], "settings")
        values: dict[str, Value] = {}
        origins: dict[str, str] = {}
        for option in self.options:
            name, variable = option.name, self._variable(option)
            values[name], origins[name] = option.initial, "default"
            if name in keys:
                values[name], origins[name] = option.accept(keys[name], "file"), "file"
            if name in variables:
                values[name], origins[name] = option.accept_text(variables[name], variable), "environment"
            if name in flags:
                values[name], origins[name] = option.accept_text(flags[name], option.flag), "command line"
            if option.required and values[name] is None:
                raise Malformed(
                    "setting_missing",
                    f"the setting {name} is missing",
                    f"give {option.allowed} by {option.flag}, {variable} or {name} in the TOML file",
                    setting=name,
                )
        return Settings(values, origins)

    def help(self) -> str:
        """The text of `--help`."""
        lines = [
            f"{self.name}: {self.summary}",
            "",
            f"usage: {self.name} [options]",
            "",
            "Command line > environment > TOML file > default. An empty variable counts as not set.",
            "",
        ]
        for option in self.options:
            rest = f", --no-{option.flag[2:]}" if option.type == "bool" else f" {option.type.upper()}"
            lines.append("  " + option.flag + rest)
            lines += _wrapped(f"{option.help} {self._remark(option)}", "      ")
        lines += [
            f"  --config PATH\n      the TOML file [{self.prefix}CONFIG]",
            "  --check-config\n      check every setting, show each and where it came from, and stop",
            "  --version\n  --help, -h\n",
        ]
        return "\n".join(lines)

    def example(self) -> str:
        """The example TOML file: every option explained, with its default, or commented out."""
        lines = [f"# {self.name}: {self.summary}", "#", "# Command line > environment > this file > default."]
        for option in self.options:
            lines += ["", *_wrapped(option.help, "# "), *_wrapped(self._remark(option), "# ")]
            shown = option.example if option.default is None else option.default
            text = f"{option.name} = " + ("..." if shown is None else toml_text(shown))
            lines.append(text if option.required or option.default is not None else "# " + text)
        return "\n".join(lines) + "\n"

    def _remark(self, option: Option) -> str:
        secret = "; only its owner may read the file" if option.secret_path else ""
        default = "no default" if option.default is None else f"default {toml_text(option.default)}"
        standing = "required" if option.required else default
        return f"[{option.flag}, {self._variable(option)}; {option.allowed}{secret}; {standing}]"

    def _variable(self, option: Option) -> str:
        return self.prefix + option.name.upper()

    def _flags(self, argv: Sequence[str]) -> tuple[Action, str | None, dict[str, str]]:
        """The action, the TOML file's path and each flag's text; the last one counts, but lists add up."""
        known = {option.flag: option for option in self.options}
        negated = {"--no-" + option.flag[2:]: option for option in self.options if option.type == "bool"}
        action: Action = "run"
        config: str | None = None
        flags: dict[str, str] = {}
        rest = list(reversed(argv))
        while rest:
            flag, equals, text = rest.pop().partition("=")
            option = known.get(flag)
            if flag in _SWITCHES and not equals:
                # Who asks for help shall get it, whatever else stands there.
                action = action if action == "help" else _SWITCHES[flag]
            elif flag in negated and not equals:
                flags[negated[flag].name] = "false"
            elif option is not None and option.type == "bool":
                flags[option.name] = text if equals else "true"
            elif option is None and flag != "--config":
                if not flag.startswith("-"):
                    # It may be a value that lost its flag, so it isn't repeated.
                    position = len(argv) - len(rest)
                    raise Malformed("setting_unknown", f"argument {position} is not a flag", "see --help")
                raise _unknown("flag", flag, [*known, *negated, *_SWITCHES, "--config"])
            else:
                if not equals:
                    if not rest or rest[-1].startswith("--"):
                        hint = f"write {flag}=VALUE"
                        raise Malformed("setting_malformed", f"{flag} stands without a value", hint)
                    text = rest.pop()
                if option is None:
                    config = text
                elif option.type == "list" and option.name in flags:
                    flags[option.name] += "," + text
                else:
                    flags[option.name] = text
        return action, config, flags

    def _variables(self, environ: Mapping[str, str]) -> dict[str, str]:
        """The text of each variable that is set, by the option's name."""
        known = {self._variable(option): option.name for option in self.options}
        others = tuple(prefix for prefix in PREFIXES if len(prefix) > len(self.prefix))
        variables: dict[str, str] = {}
        for variable, text in sorted(environ.items()):
            if not variable.startswith(self.prefix) or variable.startswith(others):
                continue
            name = variable.removeprefix(self.prefix)
            if name == "CONFIG" or is_service_link(name, text):
                continue
            if variable not in known:
                raise _unknown("environment variable", variable, [*known, self.prefix + "CONFIG"])
            if text:
                variables[known[variable]] = text
        return variables


def parse_toml(text: str, what: str) -> dict[str, Any]:
    """The table that a TOML text holds; `what` names the file. Raises Malformed with the line alone."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        line = re.search(r"at line (\d+)", str(error))
        where = f" at line {line[1]}" if line else ""
        detail = f"the {what} file is not valid TOML{where}"
        raise Malformed("toml_malformed", detail, "mend its syntax") from None


def refuse_unknown(keys: Iterable[str], known: Sequence[str], what: str) -> None:
    """Raises Malformed when a key isn't one of `known`; `what` names the file."""
    for key in keys:
        if key not in known:
            raise _unknown(f"key of the {what} file", key, known)


def _unknown(what: str, name: str, known: Sequence[str]) -> Malformed:
    """The refusal of an unknown name; what can't be meant as a name is not repeated."""
    close = get_close_matches(name[:64], known, n=1)
    hint = f"did you mean {close[0]}?" if close else "known are: " + (", ".join(sorted(known)) or "none")
    named = f" {name}" if _NAME.match(name) else ""
    return Malformed("setting_unknown", f"unknown {what}{named}", hint)


def _wrapped(text: str, indent: str) -> list[str]:
    # Names with hyphens stay whole, so that they can be searched for.
    return wrap(text, 100, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
