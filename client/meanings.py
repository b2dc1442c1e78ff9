"""Meanings: what a person's text says of a secret: a stored one, or what a connector is to read without one.

    account.token                                                a stored secret
    account.hashicorpvault://vault1/db/prod#password             what the connector vault1 reads there
    <+secrets.getValue("db_" + <+env.name>)>                     either of both, by a text that is put together

Promises: an expression makes names of names alone, and its variables come from whoever asks; what isn't one reference from
beginning to end is refused. Pure. Must not know which secrets there are.
"""

from __future__ import annotations

from collections.abc import Mapping

from shared.errors import Malformed
from shared.expressions import OPENING, SecretCall, evaluate, parse_text
from shared.names import Reference, Scope
from shared.references import DirectReference, parse

Meaning = Reference | DirectReference
NOTHING: Mapping[str, str] = {}


def meaning(text: str, here: Scope, variables: Mapping[str, str] = NOTHING) -> Meaning:
    """What `text` refers to for somebody at scope `here`; `variables` are those of its expressions. Raises Malformed."""
    return parse(_said(text, variables) if OPENING in text else text, here)


def stored(text: str, here: Scope, variables: Mapping[str, str] = NOTHING) -> Reference:
    """The same where only a stored secret will do."""
    found = meaning(text, here, variables)
    if isinstance(found, DirectReference):
        raise Malformed(
            "reference_direct",
            "this is for a stored secret, and the reference names what a connector reads",
            "give account.NAME, org.NAME or NAME",
        )
    return found


def _said(text: str, variables: Mapping[str, str]) -> str:
    parts = [one if isinstance(one, str) else evaluate(one, variables) for one in parse_text(text.strip())]
    if len(parts) == 1 and isinstance(parts[0], SecretCall):
        return parts[0].reference
    if any(isinstance(one, SecretCall) for one in parts):
        raise Malformed(
            "reference_malformed",
            "the text has a secret's value in it, and this is for the name of one",
            'write one expression: <+secrets.getValue("db_" + <+env.name>)>',
        )
    return "".join(one for one in parts if isinstance(one, str))
