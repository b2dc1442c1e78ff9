"""The errors that somebody reacts to, one class a reaction.

    PrivySealError
    +-- Malformed         the input can't be what it claims to be; mend it
    +-- Unauthenticated   nobody vouches for who sent this
    +-- Denied            the sender is known and may not do this
    +-- NotFound          no such thing, or it lies outside the caller's scope
    +-- Conflict          it changed meanwhile; take the newer one and try again
    +-- NotReady          something must happen first (a delegate is behind, no delegate fits)
    +-- StaleRecipient    sealed to a key that is no longer the current one; seal again
    +-- Tampered          a signature, digest, tag or revision doesn't fit: somebody changed it
    +-- Unavailable *     try again later
    +-- Overloaded *      try again more slowly
    +-- Expired *         its time ran out; make a new one

(* retryable.) Everything else is a bug and is answered as `internal`. An error names the thing and the remedy and
never repeats a value. Decryption fails in one way only, without reasons.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class PrivySealError(Exception):
    """The base; never raised itself.

    `code` is stable and for programs, `detail` says what is wrong with which thing, `hint` what to do about it, `facts`
    carries JSON values for programs (who was asked and why not, newer documents).
    """

    http_status: ClassVar[int] = 500
    grpc_status: ClassVar[str] = "INTERNAL"
    exit_status: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(self, code: str, detail: str, hint: str = "", **facts: Any) -> None:
        if type(self) is PrivySealError:
            raise TypeError("raise one of its subclasses: each stands for a reaction")
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.hint = hint
        self.facts = facts

    def problem(self) -> dict[str, Any]:
        """The error as an RFC 9457 problem object, without `instance`."""
        problem: dict[str, Any] = {
            "type": f"urn:privyseal:problem:{self.code}",
            "title": type(self).__name__,
            "status": self.http_status,
            "code": self.code,
            "detail": self.detail,
        }
        if self.hint:
            problem["hint"] = self.hint
        return {**self.facts, **problem}


class Malformed(PrivySealError):
    """The input can't be what it claims to be."""

    http_status, grpc_status, exit_status = 400, "INVALID_ARGUMENT", 2


class Unauthenticated(PrivySealError):
    """Nobody vouches for who sent this."""

    http_status, grpc_status, exit_status = 401, "UNAUTHENTICATED", 3


class Denied(PrivySealError):
    """The sender is known and may not do this."""

    http_status, grpc_status, exit_status = 403, "PERMISSION_DENIED", 4


class NotFound(PrivySealError):
    """No such thing, or it lies outside the caller's scope."""

    http_status, grpc_status, exit_status = 404, "NOT_FOUND", 5


class Conflict(PrivySealError):
    """It changed meanwhile."""

    http_status, grpc_status, exit_status = 409, "ABORTED", 6


class NotReady(PrivySealError):
    """Something must happen first."""

    http_status, grpc_status, exit_status = 412, "FAILED_PRECONDITION", 7


class StaleRecipient(PrivySealError):
    """Sealed to a key that is no longer the current one."""

    http_status, grpc_status, exit_status = 410, "FAILED_PRECONDITION", 6


class Tampered(PrivySealError):
    """A signature, digest, tag or revision doesn't fit."""

    http_status, grpc_status, exit_status = 422, "DATA_LOSS", 8


class Unavailable(PrivySealError):
    """Try again later."""

    http_status, grpc_status, exit_status, retryable = 503, "UNAVAILABLE", 9, True


class Overloaded(PrivySealError):
    """Try again more slowly."""

    http_status, grpc_status, exit_status, retryable = 429, "RESOURCE_EXHAUSTED", 9, True


class Expired(PrivySealError):
    """Its time ran out."""

    http_status, grpc_status, exit_status, retryable = 408, "DEADLINE_EXCEEDED", 10, True


CLASSES: Mapping[str, type[PrivySealError]] = {
    error.__name__: error
    for error in (
        Malformed,
        Unauthenticated,
        Denied,
        NotFound,
        Conflict,
        NotReady,
        StaleRecipient,
        Tampered,
        Unavailable,
        Overloaded,
        Expired,
    )
}

_STANDARD = frozenset({"type", "title", "status", "code", "detail", "hint", "instance", "self"})


def from_problem(problem: Mapping[str, Any]) -> PrivySealError:
    """The error that a problem object describes; an unknown title is Unavailable, since its sender is faulty.

    Only for display and retry decisions: a problem is not signed, so nothing may be believed because of it.
    """
    error = CLASSES.get(_text(problem, "title", ""), Unavailable)
    facts = {key: value for key, value in problem.items() if key not in _STANDARD and key.isidentifier()}
    return error(
        _text(problem, "code", "internal"),
        _text(problem, "detail", "the other side failed without saying why"),
        _text(problem, "hint", ""),
        **facts,
    )


def _text(problem: Mapping[str, Any], member: str, otherwise: str) -> str:
    value = problem.get(member)
    return value if isinstance(value, str) else otherwise
