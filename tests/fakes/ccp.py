"""CyberArk's Central Credential Provider: GetPassword by REST, before safes with accounts and the applications that may read them.

    ccp = Ccp()
    ccp.applications["PrivySeal"] = Application(certificates={serial})
    ccp.safes["Databases"] = Safe({"PrivySeal"}, [Account("hunter2", "db1", UserName="svc", Address="db1.example.com")])
    with Https(ccp, clients=authority) as site: ...

It does real work: a client's certificate is the one that TLS proved, accounts are looked for by what is asked. Source:
CyberArk's documentation, "Call the Web Service using REST" (parameters, result, return codes) and "Application authentication
methods"; the texts of errors repeat what was asked, as the service's own do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.servers.https import Reply, Request, told

SEARCHED = ("Safe", "Folder", "Object", "UserName", "Address", "Database", "PolicyID")
TAKEN = {"AppID", "Reason", "ConnectionTimeout", "Query", "QueryFormat", "FailRequestOnPasswordChange", *SEARCHED}
UNSUPPORTED = frozenset("+&%;")


@dataclass
class Application:
    """Who may be it: client certificates by their serial numbers, and machines; where there are none of a sort, all may."""

    certificates: set[int] = field(default_factory=set)
    machines: set[str] = field(default_factory=set)


class Account:
    """A password, its object's name and folder, and properties."""

    def __init__(
        self, content: str, name: str, folder: str = "Root", *, changing: bool = False, **properties: str
    ) -> None:
        self.content, self.name, self.folder, self.changing = content, name, folder, changing
        self.properties = properties

    def told(self, safe: str) -> dict[str, str]:
        """The result's members."""
        known = {"Content": self.content, "Safe": safe, "Folder": self.folder, "Name": self.name}
        return {**known, **self.properties, "PasswordChangeInProcess": str(self.changing)}

    def is_meant(self, asked: Mapping[str, str]) -> bool:
        """Whether it has all that is asked for."""
        own = {"Folder": self.folder, "Object": self.name, **self.properties}
        wanted = {"Folder": "Root", **asked}
        return all(own.get(key, "").casefold() == value.casefold() for key, value in wanted.items() if key != "Safe")


@dataclass
class Safe:
    """`members` are applications that may list and retrieve."""

    members: set[str]
    accounts: list[Account] = field(default_factory=list)


@dataclass
class Ccp:
    """One service; `name` is that of its web service."""

    name: str = "AIMWebService"
    applications: dict[str, Application] = field(default_factory=dict)
    safes: dict[str, Safe] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    def answer(self, request: Request) -> Reply:
        """What GetPassword gives."""
        if request.path != f"/{self.name}/api/Accounts":
            return Reply(404, b"<html>404 - File or directory not found.</html>", {"Content-Type": "text/html"})
        if request.method != "GET":
            return Reply(405)
        asked = dict(request.query)
        application = asked.get("AppID", "")
        if not application:
            return _failed(400, "AIMWS031E", "Invalid request. The AppID parameter is required.")
        found = {key: value for key, value in asked.items() if key in SEARCHED}
        if not found or not asked.keys() <= TAKEN or any(UNSUPPORTED & set(value) for value in asked.values()):
            return _failed(400, "AIMWS030E", f"Invalid query format: {found}")
        known = self.applications.get(application)
        if known is None:
            return _failed(403, "APPAP008E", f"Problem occurred: ITATS982E User {application} is not defined.")
        serial = None if request.certificate is None else request.certificate.serial_number
        if (known.certificates and serial not in known.certificates) or (
            known.machines and request.peer not in known.machines
        ):
            return _failed(403, "APPAP306E", f"Application {application} failed on authentication check.")
        self.reasons.append(asked.get("Reason", ""))
        return self._account(application, found, asked.get("FailRequestOnPasswordChange", "") == "true")

    def _account(self, application: str, found: Mapping[str, str], fails: bool) -> Reply:
        name = found.get("Safe", "")
        safe = next((one for key, one in self.safes.items() if key.casefold() == name.casefold()), None)
        allowed = safe is not None and application in safe.members
        accounts = safe.accounts if safe is not None and allowed else []
        meant = [one for one in accounts if one.is_meant(found)]
        query = ";".join(f"{key}={value}" for key, value in found.items())
        if not meant:
            return _failed(404, "APPAP004E", f"Password object matching query [{query}] was not found.")
        if len(meant) > 1:
            return _failed(400, "APPAP229E", f"Too many password objects matching query [{query}] were found.")
        (one,) = meant
        if one.changing and fails:
            return _failed(500, "APPAP282E", f"Password [{one.name}] is currently being changed by the CPM.")
        return told(200, one.told(name))


def _failed(status: int, code: str, message: str) -> Reply:
    return told(status, {"ErrorCode": code, "ErrorMsg": message})
