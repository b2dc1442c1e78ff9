"""What each kind of document may not hold: edits of its smallest form that each cross one limit of docs/formats.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tests.fakes.issuers import ISSUER_KEYS
from tests.vectors import actors as a
from tests.vectors.conditions import ANOTHER_TEXT, MALFORMED

Edit = Callable[[dict[str, Any]], object]

_TOO_LONG = "a" * 129
_STRAY_KEY = "A" * 42 + "B"
_ID = a.opaque("some id")
_KEY = a.READER.key


def nested(levels: int) -> dict[str, Any]:
    """So many objects and lists in one another."""
    inner: Any = {}
    for level in range(levels - 1):
        inner = [inner] if (levels - level) % 2 else {"a": inner}
    assert isinstance(inner, dict)
    return inner


def put(**members: Any) -> Edit:
    """Sets these members, whatever they were."""
    return lambda payload: payload.update(members)


def _in(place: str, /, **members: Any) -> Edit:
    """Change members of the object (or of the first in the list) at `place`."""

    def edit(payload: dict[str, Any]) -> None:
        inner = payload[place][0] if isinstance(payload[place], list) else payload[place]
        inner.update(members)

    return edit


_MODULUS = ISSUER_KEYS[1].n
_ISSUERS = {
    "in plain text": "http://a.example",
    "of another scheme": "ftp://a.example",
    "no URL": "a.example",
    "without a host": "https://",
    "in upper case": "https://A.example",
    "of a host with an empty part": "https://a..example",
    "of a host that begins with a hyphen": "https://-a.example",
    "of a host with an underline": "https://a_b.example",
    "with a user": "https://user@a.example",
    "with port zero": "https://a.example:0",
    "with a query": "https://a.example?x",
    "with a fragment": "https://a.example#x",
    "with a slash at its end": "https://a.example/",
    "with an empty step": "https://a.example//b",
    "with a step that begins with a point": "https://a.example/..",
    "with an escape": "https://a.example/%2e",
    "with a line break": "https://a.example\n",
    "too long": "https://a.example/" + "a" * 238,
    "only begun on loopback": "http://127.0.0.1.example",
}


def _oidc(**members: Any) -> Edit:
    """An issuer that would be accepted, but for these members."""
    return put(oidc={"issuer": "https://a.example", "keys": [{"gen": 1, "n": _MODULUS}], **members})


def _two(**members: Any) -> Edit:
    """The same on a keyring whose generations 1 and 2 are accepted."""

    def edit(payload: dict[str, Any]) -> None:
        payload["certifiers"].append({"gen": 2, "key": _KEY})
        _oidc(**members)(payload)

    return edit


_LABELS = {
    "of nothing": {},
    "without labels": {"applications": [], "environments": []},
    "with no application spelt out": {"applications": [], "environments": ["a"]},
    "with a text for labels": {"applications": "a"},
    "with null for labels": {"applications": None},
    "with labels out of order": {"applications": ["b", "a"]},
    "with a label twice": {"environments": ["a", "a"]},
    "with an empty label": {"environments": [""]},
    "with a label that begins with a point": {"environments": [".a"]},
    "with a label that begins with a hyphen": {"environments": ["-a"]},
    "with a space in a label": {"environments": ["a b"]},
    "with a line break in a label": {"environments": ["a\n"]},
    "with a label outside of ASCII": {"environments": ["é"]},
    "with a label that is too long": {"environments": [_TOO_LONG]},
    "with sixty-five labels": {"applications": [f"a{at:02}" for at in range(65)]},
    "of something else": {"applications": ["a"], "services": ["a"]},
}
_STATED: dict[str, Any] = {
    "of nothing": {},
    "of a list": ["a"],
    "with null": {"application": "a", "environment": None},
    "with an empty label": {"application": ""},
    "with a label that begins with a point": {"environment": ".a"},
    "with a line break in a label": {"environment": "a\n"},
    "with a label outside of ASCII": {"environment": "é"},
    "with a label that is too long": {"application": _TOO_LONG},
    "with two labels": {"application": ["a", "b"]},
    "of something else": {"application": "a", "service": "a"},
}


def _usages(usages: Mapping[str, Any]) -> dict[str, Edit]:
    return {f"a usage {name}": put(usage=usage) for name, usage in usages.items()}


_WHERES: dict[str, Edit] = {
    **{f"a condition {name}": put(where=text) for name, text in ANOTHER_TEXT.items()},
    **{f"as condition {name}": put(where=text) for name, text in MALFORMED.items() if text},
    "a condition that isn't a text": put(where=["a"]),
}


_EVERY: dict[str, Edit] = {
    "an account id that is too short": put(acct=a.ACCOUNT[:-1]),
    "an account id in upper case": put(acct=a.ACCOUNT.upper()),
    "an account id with a line break": put(acct=a.ACCOUNT + "\n"),
    "iat below zero": put(iat=-1),
    "iat past the year 9999": put(iat=253_402_300_800),
}
_REVISED: dict[str, Edit] = {
    **_EVERY,
    "revision zero": put(rev=0),
    "a revision past 2**53 - 1": put(rev=2**53),
    "a prev that is too short": put(prev="A" * 42),
    "a prev with stray bits": put(prev=_STRAY_KEY),
}
_NAMED: dict[str, Edit] = {
    "a name that is empty": put(name=""),
    "a name that begins with a space": put(name=" a"),
    "a name that is too long": put(name=_TOO_LONG),
    "a name with a line break": put(name="a\n"),
    "a name outside of ASCII": put(name="é"),
}
_PLACED: dict[str, Edit] = {
    **_REVISED,
    **_NAMED,
    "an id that is too short": put(id=_ID[:-1]),
    "an id in upper case": put(id=_ID.upper()),
    "a scope that is empty": put(scope=""),
    "a scope with a slash at the end": put(scope="org/a/"),
    "a scope without its organisation": put(scope="project/a"),
    "a scope that is too deep": put(scope="org/a/project/b/project/c"),
    "a scope with a point": put(scope="org/a.b"),
    "an identifier that begins with a digit": put(identifier="1a"),
    "an identifier with a hyphen": put(identifier="a-b"),
    "an identifier that is empty": put(identifier=""),
    "an identifier that is too long": put(identifier=_TOO_LONG),
    "an identifier with a line break": put(identifier="a\n"),
    "an identifier outside of ASCII": put(identifier="é"),
    "a description of 1025 characters": put(description="x" * 1025),
    "a tag with an empty name": put(tags={"": "x"}),
    "a tag with a space in its name": put(tags={"a b": "x"}),
    "a tag with a name that is too long": put(tags={_TOO_LONG: "x"}),
    "a tag with a value of 257 characters": put(tags={"a": "x" * 257}),
    "a tag that isn't a text": put(tags={"a": 1}),
    "deleted that isn't a boolean": put(deleted=1),
}

LIMITS: Mapping[str, Mapping[str, Edit]] = {
    "account": {
        **_REVISED,
        **_NAMED,
        "no root": put(roots=[]),
        "nine roots": put(roots=[_KEY] * 9),
        "a root with stray bits": put(roots=[_STRAY_KEY]),
        "no administrator": put(administrators=[]),
        "sixty-five administrators": put(administrators=[{"name": "a", "key": _KEY}] * 65),
        "an administrator without a name": put(administrators=[{"key": _KEY}]),
        "an administrator with more than that": _in("administrators", admin=True),
        "an administrator with a short key": _in("administrators", key=_KEY[:-1]),
        "a consent of no key": put(consents={"root": "A" * 86}),
        "a consent that is too short": put(consents={_KEY: "A" * 85}),
        "a consent with stray bits": put(consents={_KEY: "A" * 85 + "B"}),
    },
    "keyring": {
        **_REVISED,
        "an id that is no identifier": put(id="a-b"),
        "generation zero": put(gen=0),
        "a sealing key that is too short": lambda p: p.update(seal=p["seal"][:-2]),
        "a sealing key with stray bits": lambda p: p.update(seal=p["seal"][:-1] + "B"),
        "no certifier": put(certifiers=[]),
        "sixty-five certifiers": lambda p: p.update(certifiers=p["certifiers"] * 65),
        "a certifier of generation zero": _in("certifiers", gen=0),
        "a certifier with stray bits": _in("certifiers", key=_STRAY_KEY),
        "a certifier with more than that": _in("certifiers", name="a"),
        "platform that isn't a boolean": put(platform=1),
        "an issuer without keys": put(oidc={"issuer": "https://a.example", "keys": []}),
        "an issuer without the list of keys": put(oidc={"issuer": "https://a.example"}),
        "an issuer spelt out as none": _oidc(issuer=""),
        **{f"an issuer that is {name}": _oidc(issuer=url) for name, url in _ISSUERS.items()},
        "an issuer with more than that": _oidc(audience="a"),
        "an issuer's key of generation zero": _oidc(keys=[{"gen": 0, "n": _MODULUS}]),
        "an issuer's key of a generation that isn't accepted": _oidc(keys=[{"gen": 2, "n": _MODULUS}]),
        "two keys of an issuer for one generation": _oidc(keys=[{"gen": 1, "n": _MODULUS}] * 2),
        "an issuer's keys out of order": _two(keys=[{"gen": 2, "n": _MODULUS}, {"gen": 1, "n": _MODULUS}]),
        "an issuer's key with an exponent": _oidc(keys=[{"gen": 1, "n": _MODULUS, "e": "AQAB"}]),
        "an issuer's key without a modulus": _oidc(keys=[{"gen": 1}]),
        "an issuer's key that is too short": _oidc(keys=[{"gen": 1, "n": _MODULUS[:-4] + "AAB"}]),
        "an issuer's key that is too long": _oidc(keys=[{"gen": 1, "n": _MODULUS + "AAAB"}]),
        "an issuer's key whose highest bit is zero": _oidc(keys=[{"gen": 1, "n": "A" + _MODULUS[1:]}]),
        "an issuer's key that is even": _oidc(keys=[{"gen": 1, "n": _MODULUS[:-1] + "A"}]),
    },
    "status": {
        **_REVISED,
        "another id": put(id="other"),
        "exp below zero": put(exp=-1),
        "a grant that is no id": put(grants=["x"]),
        "a key that is no thumbprint": put(keys=["x"]),
        "a floor of no secret": put(secrets={"x": 1}),
        "a floor of zero": put(secrets={_ID: 0}),
        "a floor of no keyring": put(keyrings={"a-b": 1}),
        "a floor of no group": put(groups={"Builders": 1}),
        "a group's floor of zero": put(groups={"builders": 0}),
        "a base with stray bits": put(base=_STRAY_KEY),
    },
    "grant": {
        **_REVISED,
        "an id that is too long": put(id=_ID + "a"),
        "no permission": put(permissions=[]),
        "ten permissions": put(permissions=["view"] * 10),
        "a permission that is unknown": put(permissions=["root"]),
        "a scope that is malformed": put(scope="org"),
        "a resource that is no id": put(resource="x"),
        "a parent that is no id": put(parent="x"),
        "a principal of another type": _in("principal", type="team"),
        "a principal with a name that is empty": _in("principal", name=""),
        "a principal with stray bits": _in("principal", key=_STRAY_KEY),
        "a principal with more than that": _in("principal", admin=True),
        **_usages(_LABELS),
    },
    "group": {
        **_REVISED,
        "an id that is no selector": put(id="Builders"),
        "an id that is empty": put(id=""),
        "an id that is too long": put(id="a" * 129),
        "no id": lambda p: p.pop("id"),
        "a scope": put(scope="account"),
        "a tag in upper case": put(tags=["Linux"]),
        "a tag with a space": put(tags=["a b"]),
        "a tag that stands twice": put(tags=["a", "a"]),
        "tags out of order": put(tags=["b", "a"]),
        "tags that are spelt out as none": put(tags=[]),
        "sixty-five tags": put(tags=[f"{at:02}" for at in range(65)]),
        "a deleted one with tags": put(deleted=True, tags=["a"]),
        "deleted that isn't a boolean": put(deleted=1),
    },
    "scope": _PLACED,
    "connector": {
        **_PLACED,
        "a type in lower case": put(type="local"),
        "a type that is too long": put(type="A" * 65),
        "a keyring that is no identifier": put(keyring="a-b"),
        "a selector in upper case": put(selectors=["Linux"]),
        "a selector with a space": put(selectors=["a b"]),
        "sixty-five selectors": put(selectors=["a"] * 65),
        **_WHERES,
        "a spec that is a list": put(spec=[]),
        "a spec of seventeen levels": put(spec=nested(17)),
        "a spec with a fraction": put(spec={"a": 1.5}),
        "a spec with a whole fraction": put(spec={"a": 1.0}),
        "a spec with an integer past 2**53 - 1": put(spec={"a": 2**53}),
        "a spec with an integer of thirty digits": put(spec={"a": [10**29]}),
        "a spec with a name outside of ASCII": put(spec={"a": {"é": 1}}),
        "secrets out of order": put(secrets=["b", "a"]),
        "a secret that is named twice": put(secrets=["a", "a"]),
        "a secret with an unknown prefix": put(secrets=["project.a"]),
        "a secret with a prefix alone": put(secrets=["account."]),
        "a secret with a hyphen": put(secrets=["a-b"]),
        "a secret with a line break": put(secrets=["a\n"]),
        "an organisation's secret in the account": put(secrets=["account.a", "org.a"]),
        **_usages(_LABELS),
        "sixty-five secrets": put(secrets=[f"a{at:02}" for at in range(65)]),
    },
    "secret": {
        **_PLACED,
        "a type that is unknown": put(type="SecretCode"),
        "a connector that is no id": put(connector="local"),
        "a file name of 256 characters": put(filename="x" * 256),
        "a reference of 2049 characters": put(reference="x" * 2049),
        "metadata with a space in its name": put(metadata={"a b": "x"}),
        "metadata that isn't a text": put(metadata={"version": 1}),
        "metadata of 257 characters": put(metadata={"version": "x" * 257}),
        **_usages(_LABELS),
    },
    "certificate": {
        **_EVERY,
        "a keyring that is no identifier": put(keyring="a-b"),
        "generation zero": put(gen=0),
        "a key with stray bits": put(key=_STRAY_KEY),
        "a name in upper case": put(name="Delegate"),
        "a tag that is empty": put(tags=[""]),
        "sixty-seven tags": put(tags=["a"] * 67),
        "a scope that is empty": put(scopes=[""]),
        "a scope without its organisation": put(scopes=["project/a"]),
        "sixty-five scopes": put(scopes=["org/a"] * 65),
        "a group in upper case": put(group="Builders"),
        "a group that is empty": put(group=""),
        "a group that is null": put(group=None),
        "exp that isn't a number": put(exp="1"),
    },
    "task": {
        **_EVERY,
        "an operation that is unknown": put(op="run"),
        "a repeat that is unknown": put(repeat="once"),
        "a recipient that is no thumbprint": put(to="x"),
        "no target": put(targets=[]),
        "a thousand and one targets": lambda p: p.update(targets=p["targets"] * 1001),
        "a target with a negative version": _in("targets", n=-1),
        "a target with n spelt out at its default": _in("targets", n=0),
        "a target with latest spelt out at its default": _in("targets", latest=False),
        "a target with excluded spelt out at its default": _in("targets", excluded=False),
        "a target with excluded that isn't a boolean": _in("targets", excluded=1),
        "a target with null": _in("targets", connector=None),
        "a target with a member that isn't known": _in("targets", value="x"),
        "a target that is a list": put(targets=[[]]),
        "a credential with latest spelt out at its default": put(credentials=[{"secret": _ID, "latest": False}]),
        "a credential with a member that isn't known": put(credentials=[{"secret": _ID, "value": "x"}]),
        "two hundred and fifty-seven credentials": put(credentials=[{"secret": _ID, "n": 1}] * 257),
        "a command of no second": put(seconds=0),
        "a command of a day and a second": put(seconds=86_401),
        "a command of a text": put(seconds="1"),
        **_usages(_STATED),
        "no pin": put(pins=[]),
        "a pin of three": put(pins=[["account", "account", 1]]),
        "a pin of five": lambda p: p["pins"][0].append(1),
        "a pin that is an object": put(pins=[{"kind": "account"}]),
        "a pin of a kind that isn't pinned": lambda p: p["pins"][0].__setitem__(0, "status"),
        "a pin with an id of 129 characters": lambda p: p["pins"][0].__setitem__(1, _TOO_LONG),
        "a pin of revision zero": lambda p: p["pins"][0].__setitem__(2, 0),
        "a pin with stray bits": lambda p: p["pins"][0].__setitem__(3, _STRAY_KEY),
        "a selector of an unknown origin": put(selectors=[["linux", "connector"]]),
        "a selector in upper case": put(selectors=[["Linux", "step"]]),
        "sixty-five selectors": put(selectors=[["a", "step"]] * 65),
        **_WHERES,
        "a status of one": put(status=[1]),
        "a status of three": lambda p: p["status"].append(1),
        "a reader that is too short": lambda p: p.update(reader=p["reader"][:-2]),
        "an input that is no digest": put(input=["x"]),
        "a jti that is no id": put(jti="x"),
        "exp past the year 9999": put(exp=253_402_300_800),
    },
    "answer": {
        **_EVERY,
        "a task that is no digest": put(task="x"),
        "a code that is unknown": put(code="fine"),
        "a sealed that is no digest": put(sealed="x"),
        "a stored that is no digest": put(stored=["x"]),
        "a thousand and one stored": put(stored=["A" * 43] * 1001),
    },
    "output": {
        **_EVERY,
        "a task that is no digest": put(task="x"),
        "a sealed that is no digest": put(sealed="x"),
        "a sealed with stray bits": put(sealed=_STRAY_KEY),
    },
    "checked": {
        **_EVERY,
        "a connector that is no id": put(connector="x"),
        "a revision that is no digest": put(revision="x"),
        "a code that is unknown": put(code="fine"),
    },
}
