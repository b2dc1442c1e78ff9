"""An option: one setting of a program, with its type and its limits.

Promises: an accepted value has the declared type and lies within the limits; a refusal names the setting,
where it was given and what is allowed, and never what was given. A secret is never a setting, only the path
of the file that holds one. Must not read that file, nor anything else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from shared.errors import Malformed

Value = str | int | float | bool | tuple[str, ...] | None
Type = Literal["str", "int", "float", "bool", "path", "list", "duration", "size"]

_TRUE, _FALSE = frozenset({"true", "yes", "on", "1"}), frozenset({"false", "no", "off", "0"})
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_LARGEST = 2**53
_ALLOWED: Mapping[Type, str] = {
    "str": "a text in one line",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "path": "the path of a file or folder",
    "list": "a list of texts (in flags and variables separated by commas)",
    "duration": "seconds, or a number with ms, s, m, h or d",
    "size": "bytes, or a number with KB, MB, GB, KiB, MiB or GiB",
}
_RESERVED = frozenset({"help", "version", "check_config", "config"})
_NAME = re.compile(r"(?!no_)[a-z][a-z0-9]*(_[a-z0-9]+)*\Z")
_LINK = re.compile(r"(.*_)?(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)\Z")
_LINK_VALUE = re.compile(r"(tcp|udp|sctp)://")
_MEASURE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?) ?([A-Za-z]*)\Z", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d{1,16}\Z", re.ASCII)
_REAL = re.compile(r"[+-]?\d{1,16}(\.\d{1,16})?(e[+-]?\d{1,2})?\Z", re.ASCII | re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PASSWORD_IN_URL = re.compile(r"://[^/@\s]*:[^/@\s]+@")


def is_service_link(name: str, text: str) -> bool:
    """Whether Kubernetes sets that variable in each container beside a service of the program's name.

    `name` is without the program's prefix: `PORT`, `GRPC_SERVICE_HOST`, `PORT_443_TCP_ADDR`.
    """
    return bool(_LINK.match(name)) or (name.endswith("PORT") and bool(_LINK_VALUE.match(text)))


@dataclass(frozen=True, slots=True)
class Option:
    """One setting: `max_tasks` is `--max-tasks`, `PREFIX_MAX_TASKS` and the TOML key `max_tasks`.

    `default` and `example` are written as in TOML (`"30s"`, `"10MB"` or plain numbers; a list as a tuple);
    None means not set. `minimum` and `maximum` are seconds, bytes or plain numbers; `choices` are for texts
    and members of lists. `secret_path`: the file holds a secret. A faulty declaration raises ValueError.
    """

    name: str
    type: Type
    default: Value
    help: str
    required: bool = False
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    secret_path: bool = False
    example: Value = None

    def __post_init__(self) -> None:
        name = self.name
        if not _NAME.match(name) or name in _RESERVED or is_service_link(name.upper(), ""):
            raise ValueError(f"{name!r} can't be the name of an option")
        if self.secret_path and self.type != "path":
            raise ValueError(f"{name}: a secret is given by the path of its file")
        if self.required and (self.default is not None or self.example is None):
            raise ValueError(f"{name}: what is required has an example and no default")
        for value in (self.default, self.example):
            if value is not None:
                try:
                    self.accept(value, "declaration")
                except Malformed as error:
                    raise ValueError(f"{name}: its default or example is not allowed: {error.hint}") from None

    @property
    def flag(self) -> str:
        """How it is written on a command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def allowed(self) -> str:
        """What may be given, for people."""
        text = _ALLOWED[self.type]
        if self.choices:
            text = ("a list of " if self.type == "list" else "one of ") + ", ".join(self.choices)
        if self.minimum is not None:
            text += f", at least {self.minimum:.15g}"
        if self.maximum is not None:
            text += f", at most {self.maximum:.15g}"
        return text

    @property
    def initial(self) -> Value:
        """The default as this option's type."""
        return None if self.default is None else self.accept(self.default, "default")

    def accept(self, value: object, origin: str) -> str | int | float | bool | tuple[str, ...]:
        """A TOML value as this option's type; `origin` says where it stood. Raises Malformed."""
        accepted = self._convert(value)
        if accepted is None or not self._within(accepted):
            raise self._refusal(origin, "is not allowed", f"{self.name} takes {self.allowed}")
        if self.secret_path and "-----BEGIN" in str(accepted):
            raise self._refusal(origin, "holds the secret itself", "give the path of the file that holds it")
        if self.type == "str" and _PASSWORD_IN_URL.search(str(accepted)):
            raise self._refusal(origin, "holds a password in a URL", "secrets are given by files only")
        return accepted

    def accept_text(self, text: str, origin: str) -> str | int | float | bool | tuple[str, ...]:
        """The text of a flag or variable as this option's type. Raises Malformed."""
        match self.type:
            case "int" if _INTEGER.match(text):
                return self.accept(int(text), origin)
            case "float" if _REAL.match(text):
                return self.accept(float(text), origin)
            case "bool" if text.lower() in _TRUE | _FALSE:
                return text.lower() in _TRUE
            case "list":
                return self.accept([part.strip() for part in text.split(",") if part.strip()], origin)
        return self.accept(text, origin)

    def _convert(self, value: object) -> Value:
        """`value` as this option's type; None if it can't be."""
        match self.type, value:
            case "bool", bool():
                return value
            case _, bool():
                return None
            case "str", str() if value.isprintable():
                return value
            case "path", str() if value and not _CONTROL.search(value):
                return value
            case "int" | "size", int():
                return value
            case "float" | "duration", int() | float() if abs(value) <= _LARGEST:
                return float(value)
            case "duration", str():
                return _measured(value, _SECONDS)
            case "size", str():
                measured = _measured(value, _BYTES)
                return int(measured) if measured is not None and measured.is_integer() else None
            case "list", list() | tuple():
                texts = tuple(part for part in value if isinstance(part, str) and part and part.isprintable())
                return texts if len(texts) == len(value) else None
        return None

    def _within(self, value: str | int | float | bool | tuple[str, ...]) -> bool:
        if isinstance(value, tuple):
            return not self.choices or set(value) <= set(self.choices)
        if isinstance(value, str):
            return not self.choices or value in self.choices
        low: float = 0 if self.type in {"duration", "size"} else -_LARGEST
        low = low if self.minimum is None else max(low, self.minimum)
        return low <= value <= (_LARGEST if self.maximum is None else self.maximum)

    def _refusal(self, origin: str, what: str, hint: str) -> Malformed:
        detail = f"the setting {self.name} ({origin}) {what}"
        return Malformed("setting_malformed", detail, hint, setting=self.name)


def _measured(text: str, units: Mapping[str, float]) -> float | None:
    match = _MEASURE.match(text)
    unit = None if match is None else units.get(match[2]) if match[2] else 1
    return None if match is None or unit is None else round(float(match[1]) * unit, 6)


def toml_text(value: str | int | float | bool | tuple[str, ...]) -> str:
    """A value as TOML writes it."""
    # A JSON text without control characters, number, boolean or list of texts is also a TOML one.
    return json.dumps(value, ensure_ascii=False)
