"""Variables that users of other delegates have in their containers, in our words.

Promises: ours win, each standard variable (HTTPS_PROXY) wins over what is only familiar, and the first of several familiar
ones that is set counts; each is the environment then, so that it loses to the command line and wins over the file. An error
names the variable that is there and never repeats it. Must not read or set anything of the process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from shared.errors import Malformed

PREFIX: Final = "PRIVYSEAL_DELEGATE_"

FAMILIAR: Final = {
    "DELEGATE_NAME": "NAME",
    "DELEGATE_TAGS": "TAGS",
    "DELEGATE_GROUP_NAME": "GROUP",
    "MANAGER_HOST_AND_PORT": "MANAGER",
    "DELEGATE_TASK_CAPACITY": "CAPACITY",
    "DELEGATE_TASK_LIMIT": "CAPACITY",
    "DELEGATE_CPU_THRESHOLD": "CPU_LIMIT_PERCENT",
    "DELEGATE_MEMORY_THRESHOLD": "MEMORY_LIMIT_PERCENT",
    "LOGGING_LEVEL": "LOG_LEVEL",
    "LOG_LEVEL": "LOG_LEVEL",
}
"""What they are called here, without our prefix."""

_LEVELS: Final = {
    "debug": ("all", "trace", "finest", "finer", "fine", "debug"),
    "info": ("info", "notice", "config"),
    "warning": ("warn", "warning"),
    "error": ("error", "severe", "fatal", "critical", "off"),
}


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables with the familiar ones under our names, and a proxy in parts as HTTPS_PROXY. Raises Malformed."""
    ours = dict(environ)
    for familiar, name in FAMILIAR.items():
        text = environ.get(familiar, "").strip()
        if text and not ours.get(PREFIX + name):
            ours[PREFIX + name] = _said(familiar, name, text)
    if environ.get("PROXY_HOST", "").strip() and not (environ.get("HTTPS_PROXY") or environ.get("https_proxy")):
        ours["HTTPS_PROXY"] = _proxy(environ)
    return ours


def _said(familiar: str, name: str, text: str) -> str:
    match name:
        case "MANAGER":
            return text if "://" in text else f"https://{text}"
        case "LOG_LEVEL":
            for level, words in _LEVELS.items():
                if text.lower() in words:
                    return level
            raise _malformed(familiar, "a level of logging", "write debug, info, warning or error")
        case "CAPACITY":
            if not (text.isascii() and text.isdecimal()):
                raise _malformed(familiar, "a number", "write how many tasks may run at the same time")
        case "CPU_LIMIT_PERCENT" | "MEMORY_LIMIT_PERCENT":
            if not (text.isascii() and text.isdecimal() and len(text) < 4 and int(text) <= 100):
                raise _malformed(familiar, "a percentage", "write a number from 0 (no limit) to 100")
    return text


def _proxy(environ: Mapping[str, str]) -> str:
    """`http://USER:PASSWORD@HOST:PORT` of its parts; HOST may have the scheme before it, as some write it."""
    scheme, _, host = environ["PROXY_HOST"].strip().rstrip("/").rpartition("://")
    scheme = environ.get("PROXY_SCHEME", "").strip().lower() or scheme or "http"
    port = environ.get("PROXY_PORT", "").strip()
    if port and not (port.isascii() and port.isdecimal() and 0 < int(port) < 65_536):
        raise _malformed("PROXY_PORT", "a port", "write a number from 1 to 65535")
    if any(one in host for one in "/@? ") or (":" in host and not host.startswith("[") and host.count(":") > 1):
        raise _malformed("PROXY_HOST", "a host", "write a name or an address, an IPv6 address in brackets")
    user, password = (environ.get(name, "") for name in ("PROXY_USER", "PROXY_PASSWORD"))
    login = f"{quote(user, safe='')}{':' if password else ''}{quote(password, safe='')}@" if user else ""
    return f"{scheme}://{login}{host}{':' if port else ''}{port}"


def _malformed(variable: str, wanted: str, hint: str) -> Malformed:
    return Malformed(
        "setting_malformed", f"the environment variable {variable} is not {wanted}", hint, setting=variable
    )
