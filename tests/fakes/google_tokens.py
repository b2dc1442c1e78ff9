"""Google's token endpoints and a machine's metadata server, on loopback, as documented in: "Using OAuth 2.0 for Server to
Server Applications" (a service account's signed JWT is verified), "Security Token Service API v1, token" and "Workload identity
federation" (an ID token is verified against the keys that the provider has), "Service Account Credentials API v1,
generateAccessToken", "About VM metadata" (the header Metadata-Flavor is required)."""

from __future__ import annotations

import json
import secrets
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.fakes.google import PROJECT, Account, Issued

if TYPE_CHECKING:
    from tests.fakes.google import Google

TOKEN_URL = "https://oauth2.googleapis.com/token"
CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
_EXCHANGE = {
    "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
    "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
    "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
}

Answered = tuple[int, dict[str, Any]]


@dataclass
class Provider:
    """Of a workload identity pool: whom it believes, and how a principal is called."""

    issuer: str
    keys: Callable[[], Mapping[str, Any]]
    """The issuer's JWKS, as it is now."""
    condition: Callable[[Mapping[str, Any]], bool] = lambda _: True
    subject: Callable[[Mapping[str, Any]], str] = lambda claims: str(claims["connector_id"])
    enabled: bool = True


@dataclass
class TokenServer:
    """All of them on one port. `faults` are raw answers, status and body, that go before."""

    google: Google
    providers: dict[str, Provider] = field(default_factory=dict)
    faults: deque[tuple[int, bytes]] = field(default_factory=deque)
    paths: list[str] = field(default_factory=list)
    lifetime: int = 3600
    machine: str = ""
    """The service account of the machine whose metadata server this is; "" for none."""
    broken: bool = False
    """Whether that server gives no tokens."""

    def __post_init__(self) -> None:
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self.stalled = threading.Event()
        self.stalled.set()

    @property
    def port(self) -> int:
        """On loopback."""
        return self._server.server_address[1]

    def start(self) -> None:
        """Serve."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self.stalled.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def forget(self) -> None:
        """No provider, fault or machine any more."""
        for forgotten in (self.providers, self.faults, self.paths):
            forgotten.clear()
        self.machine, self.lifetime, self.broken = "", 3600, False

    def key_file(self, email: str, key: RSAPrivateKey, **changes: Any) -> bytes:
        """What `gcloud iam service-accounts keys create` would write for that key, which the account then has."""
        account = self.google.accounts.setdefault(email, Account(email))
        key_id = secrets.token_hex(20)
        account.keys[key_id] = key.public_key()
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        told = {
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": key_id,
            "private_key": pem,
            "client_email": email,
            "client_id": "104729104729104729104",
            "auth_uri": "https://accounts.google.com/o/oauth2/auth",
            "token_uri": TOKEN_URL,
            "universe_domain": "googleapis.com",
        }
        return json.dumps({**told, **changes}, indent=2).encode()

    def issue(self, who: str, *scopes: str) -> str:
        """A new access token."""
        token = "ya29." + secrets.token_urlsafe(48)
        self.google.tokens[token] = Issued(who, frozenset(scopes), self.google.clock() + self.lifetime)
        return token

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answered:
        """What one of the servers says."""
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        if method == "POST" and path == "/token":
            return self._by_assertion(form)
        if method == "POST" and path == "/v1/token":
            return self._exchanged(form)
        if method == "POST" and path.startswith("/v1/projects/-/serviceAccounts/"):
            return self._impersonated(path.rpartition("/")[2].removesuffix(":generateAccessToken"), headers, body)
        return 404, {"error": {"code": 404, "status": "NOT_FOUND", "message": "hunter2"}}

    def _by_assertion(self, form: Mapping[str, str]) -> Answered:
        if form.get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer":
            return _oauth("unsupported_grant_type", "Invalid grant_type")
        try:
            header = jwt.get_unverified_header(form["assertion"])
            said = jwt.decode(form["assertion"], options={"verify_signature": False})
            account = self.google.accounts.get(said["iss"])
            if account is None or not account.enabled:
                return _oauth("invalid_grant", "Invalid grant: account not found")
            claims = jwt.decode(
                form["assertion"],
                account.keys[header["kid"]],
                algorithms=["RS256"],
                audience=TOKEN_URL,
                options={"verify_exp": False, "verify_iat": False, "require": ["iss", "aud", "iat", "exp", "scope"]},
            )
        except (jwt.PyJWTError, KeyError):
            return _oauth("invalid_grant", "Invalid JWT Signature.")
        now = self.google.clock()
        if not (claims["iat"] - 300 <= now <= claims["exp"] <= claims["iat"] + 3600):
            return _oauth(
                "invalid_grant",
                "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. "
                "Check your iat and exp values in the JWT claim.",
            )
        return self._granted(f"serviceAccount:{account.email}", *claims["scope"].split())

    def _exchanged(self, form: Mapping[str, str]) -> Answered:
        if any(form.get(name) != value for name, value in _EXCHANGE.items()):
            return _oauth("invalid_request", "Invalid value for a field.")
        resource = form.get("audience", "").removeprefix("//iam.googleapis.com/")
        provider = self.providers.get(resource)
        if provider is None or not provider.enabled:
            return _oauth("invalid_target", 'The target service indicated by the "audience" parameters is invalid.')
        try:
            token = form["subject_token"]
            claims = jwt.decode(
                token,
                jwt.PyJWKSet.from_dict(dict(provider.keys()))[jwt.get_unverified_header(token)["kid"]].key,
                algorithms=["RS256"],
                issuer=provider.issuer,
                audience=[f"https://iam.googleapis.com/{resource}", f"//iam.googleapis.com/{resource}"],
                options={"verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
        except (jwt.PyJWTError, KeyError):
            return _oauth("invalid_grant", "Error connecting to the given credential's issuer.")
        now = self.google.clock()
        if not claims["iat"] - 60 <= now <= claims["exp"]:
            return _oauth("invalid_grant", "ID Token issued at a time is stale to sign-in.")
        if not provider.condition(claims):
            return _oauth("unauthorized_client", "The given credential is rejected by the attribute condition.")
        subject = provider.subject(claims)
        if len(subject.encode()) > 127:
            return _oauth("invalid_grant", "The size of mapped attribute google.subject exceeds 127 bytes.")
        pool = resource.partition("/providers/")[0]
        return self._granted(f"principal://iam.googleapis.com/{pool}/subject/{subject}", form["scope"])

    def _impersonated(self, email: str, headers: Mapping[str, str], body: bytes) -> Answered:
        issued = self.google.tokens.get(headers.get("Authorization", "").removeprefix("Bearer "))
        if issued is None or CLOUD_PLATFORM not in issued.scopes:
            return 401, {"error": {"code": 401, "status": "UNAUTHENTICATED", "message": "hunter2"}}
        on = f"serviceAccounts/{email}"
        if (issued.who, "iam.serviceAccounts.getAccessToken", on) not in self.google.allowed:
            message = "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist)."
            return 403, {"error": {"code": 403, "status": "PERMISSION_DENIED", "message": message}}
        asked = json.loads(body)
        if not 0 < int(asked["lifetime"].removesuffix("s")) <= 3600:
            return 400, {"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "hunter2"}}
        token = self.issue(f"serviceAccount:{email}", *asked["scope"])
        ends = datetime.fromtimestamp(int(self.google.tokens[token].ends), UTC)
        return 200, {"accessToken": token, "expireTime": ends.isoformat().replace("+00:00", "Z")}

    def metadata(self, path: str) -> str | dict[str, Any] | None:
        """What the machine's metadata server knows."""
        account = {"email": self.machine, "aliases": ["default"], "scopes": [CLOUD_PLATFORM]}
        if not self.machine or (self.broken and path.endswith("/token")):
            return None
        if path == "/computeMetadata/v1/project/project-id":
            return PROJECT
        if path in {"/", "/computeMetadata/v1/", "/computeMetadata/v1/universe/universe-domain"}:
            return "googleapis.com" if path.endswith("domain") else "computeMetadata/"
        folder = "/computeMetadata/v1/instance/service-accounts/"
        if path in {f"{folder}default/", f"{folder}{self.machine}/"}:
            return account
        if path in {f"{folder}default/token", f"{folder}{self.machine}/token"}:
            return self._granted(f"serviceAccount:{self.machine}", CLOUD_PLATFORM)[1]
        return None

    def _granted(self, who: str, *scopes: str) -> Answered:
        token = self.issue(who, *scopes)
        return 200, {"access_token": token, "expires_in": self.lifetime, "token_type": "Bearer"}


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who asked has gone."""


def _oauth(error: str, description: str) -> Answered:
    return 400, {"error": error, "error_description": description}


def _handler(server: TokenServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = urlsplit(self.path).path
            server.paths.append(path)
            server.stalled.wait(30)
            if server.faults:
                self._send(*server.faults.popleft())
                return
            with server.google.lock:
                status, told = server.answer("POST", path, dict(self.headers), body)
            self._send(status, json.dumps(told).encode())

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            server.paths.append(path)
            with server.google.lock:
                found = server.metadata(path) if self.headers.get("Metadata-Flavor") == "Google" else None
            if found is None:
                self._send(503 if server.broken else 404, b"not found", "text/plain")
            elif isinstance(found, str):
                self._send(200, found.encode(), "text/plain")
            else:
                self._send(200, json.dumps(found).encode())

        def _send(self, status: int, body: bytes, kind: str = "application/json") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Metadata-Flavor", "Google")
            if 300 <= status < 400:
                self.send_header("Location", "http://127.0.0.1:1/")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 (the library's word)
            pass

    return Handler
