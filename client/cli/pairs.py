"""Options that give a command's variables: NAME=..., each name once."""

from __future__ import annotations

from shared.errors import Malformed


def pairs(option: str, given: tuple[str, ...]) -> dict[str, str]:
    """What stands behind each name. Raises Malformed."""
    from shared.command import check_variable

    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise Malformed("argument_malformed", f"{option} is not what it must be", f"write {option} NAME=...")
        check_variable(name)
        if name in found:
            raise Malformed("argument_malformed", f"{option} names the variable {name} twice", "give each name once")
        found[name] = value
    return found
