// The warrant of a task: docs/formats.md section 11, step by step.
import { parseAs } from "./documents.mjs";
import { refuse } from "./bytes.mjs";
import { allows, covers, resourceOf } from "./trust.mjs";

const LONGEST = { any: 86400, never: 120 };
const NEVER = ["delete", "exec"];
const PERMISSIONS = { check: ["use"], delete: ["delete"], exec: ["exec", "reveal"], reveal: ["reveal"], store: ["edit"] };
const DEEPEST = 4;

/** What a task that may be acted on comes to: its effective selectors, sorted, and the credentials by connector id. */
export function warrant(book, compact, now) {
  const task = book.verify(parseAs("task", compact));
  const asked = task.payload;
  inTime(asked, now); // (1)
  const status = liveStatus(book, asked, now); // (2)
  const pinned = pins(book, asked); // (3)
  const keyring = pinned.one("keyring", asked.keyring);
  if (!book.isAdministrator(keyring.kid)) refuse("denied", "keyring");
  if (asked.gen < (status.keyrings?.[asked.keyring] ?? 1) || asked.gen !== keyring.payload.gen) {
    refuse("stale_recipient", "generation"); // (4)
  }
  const holds = (kid, permission, about, stated = undefined) =>
    book.chain(kid, permission, about.payload.scope, resourceOf(about.kind, about.payload), now, pinned.grants, stated);
  const judge = { task, pinned, status, keyring, holds };
  const connectors = asked.targets.map((target) => use(judge, target));
  if (asked.op === "store" && new Set(asked.targets.map((target) => target.secret)).size !== asked.targets.length) {
    refuse("malformed", "stored twice");
  }
  const inputs = { store: asked.targets.length, exec: 1 }[asked.op] ?? 0; // (9)
  if ((asked.input?.length ?? 0) !== inputs) refuse("malformed", "inputs");
  if ((asked.seconds === undefined) === (asked.op === "exec")) refuse("malformed", "seconds");
  const { credentials, holders } = resolved(judge, connectors); // (10)
  return { selectors: effective(asked, [...connectors, ...holders]), credentials };
}

function effective(asked, connectors) {
  for (const origin of ["step", "stepGroup", "stage", "pipeline"]) {
    const chosen = (asked.selectors ?? []).filter((one) => one[1] === origin).map((one) => one[0]);
    if (chosen.length) return [...new Set(chosen)].sort();
  }
  return [...new Set(connectors.flatMap((one) => one.payload.selectors ?? []))].sort();
}

function inTime({ op, repeat, to, iat, exp }, now) {
  if (repeat !== (NEVER.includes(op) ? "never" : "any") || (to === undefined) !== (repeat === "any")) refuse("malformed", "repeat");
  if (exp < iat || exp - iat > LONGEST[repeat]) refuse("denied", "too long");
  if (iat > now + 120) refuse("denied", "clock");
  if (exp <= now) refuse("expired", "task");
}

function liveStatus(book, { status: [serial, digest] }, now) {
  const status = book.status ?? refuse("not_ready", "no status");
  if (status.payload.exp <= now) refuse("not_ready", "status expired");
  if (status.payload.rev < serial) refuse("not_ready", "status behind");
  if (status.payload.rev === serial && status.digest !== digest) refuse("tampered", "status");
  return status.payload;
}

function pins(book, task) {
  const found = task.pins.map(([kind, id, rev, digest]) => ({ kind, id, rev, document: book.find(digest) }));
  if (found.some((pin) => !pin.document)) refuse("not_ready", "documents");
  const things = new Map(), grants = new Map();
  for (const { kind, id, rev, document } of found) {
    const own = document.kind === "account" ? "account" : document.payload.id;
    if (document.kind !== kind || own !== id || document.payload.rev !== rev) refuse("malformed", "pin");
    things.set(`${kind} ${id}`, document);
    if (kind === "grant") grants.set(id, document);
  }
  if (found.some(({ document }) => book.newestOf(document).digest !== document.digest)) refuse("conflict", "stale");
  if (!things.has("account account")) refuse("malformed", "account");
  return { grants, one: (kind, id) => things.get(`${kind} ${id}`) ?? refuse("malformed", `no ${kind} pinned`) };
}

/** The connector of one target, when the target may be acted on. */
function use(judge, target) {
  const { task, pinned, holds } = judge;
  const { op } = task.payload;
  const { n = 0, version } = target;
  let connector, secret;
  if (target.excluded && !["exec", "reveal"].includes(op)) refuse("malformed", "excluded"); // (8)
  if (op === "check") {
    if (target.secret !== undefined || target.connector === undefined) refuse("malformed", "target"); // (8)
    if (n !== 0 || version !== undefined) refuse("malformed", "version");
    connector = pinned.one("connector", target.connector);
  } else {
    if (target.secret === undefined || target.connector !== undefined) refuse("malformed", "target"); // (8)
    const bare = (op === "store" && n === 1) || (op === "delete" && n === 0);
    if ((n === 0 && op !== "delete") || (version === undefined) !== bare) refuse("malformed", "version");
    secret = pinned.one("secret", target.secret);
    connector = pinned.one("connector", secret.payload.connector);
  }
  for (const permission of PERMISSIONS[op]) holds(task.kid, permission, secret ?? connector, task.payload.usage); // (5)
  if (secret) secretCounts(judge, secret, connector, op === "delete" ? Infinity : n); // (6)
  connectorCounts(judge, connector); // (7)
  return connector;
}

function secretCounts({ task, status, holds }, secret, connector, n) {
  holds(secret.kid, "edit", secret);
  if (secret.payload.deleted) refuse("conflict", "secret deleted");
  if (!covers(connector.payload.scope, secret.payload.scope)) refuse("denied", "connector's scope");
  if (n < (status.secrets?.[secret.payload.id] ?? 1)) refuse("denied", "floor");
  if (!allows(secret.payload.usage, task.payload.usage)) refuse("denied", "usage");
}

function connectorCounts({ task, keyring, holds }, connector) {
  holds(connector.kid, "edit", connector);
  if (connector.payload.deleted) refuse("conflict", "connector deleted");
  if (connector.payload.keyring !== task.payload.keyring) refuse("denied", "keyring");
  const away = connector.payload.spec?.executeOnDelegate === false;
  if (away !== (keyring.payload.platform ?? false)) refuse("denied", "whose delegates");
  if (!allows(connector.payload.usage, task.payload.usage)) refuse("denied", "usage");
}

/** Where a secret lives, as "SCOPE NAME", that a connector at `scope` means by a reference. */
function placeOf(reference, scope) {
  const [prefix, name] = reference.includes(".") ? reference.split(".") : ["", reference];
  if (prefix === "account") return `account ${name}`;
  return `${prefix === "org" ? scope.split("/").slice(0, 2).join("/") : scope} ${name}`;
}

/** Step (10): the credentials of all connectors by id, reference to place; and the connectors that hold them. */
function resolved(judge, connectors) {
  const { task, pinned, holds } = judge;
  const named = new Map();
  for (const target of task.payload.credentials ?? []) {
    if (target.secret === undefined || target.connector !== undefined) refuse("malformed", "credential");
    if (!target.n || target.version === undefined || !target.latest || target.excluded) refuse("malformed", "version");
    const secret = pinned.one("secret", target.secret);
    const place = `${secret.payload.scope} ${secret.payload.identifier}`;
    if (named.has(place)) refuse("malformed", "two credentials");
    named.set(place, { target, secret });
  }
  const credentials = {}, holders = new Map();
  // Every way down is gone anew: this one is for being right, not for being fast.
  const descend = (connector, above) => {
    const { id, scope, secrets = [] } = connector.payload;
    if (above.includes(id)) refuse("malformed", "a cycle");
    if (above.length >= DEEPEST) refuse("malformed", "too deep");
    for (const reference of secrets) {
      const place = placeOf(reference, scope);
      const { target, secret } = named.get(place) ?? refuse("malformed", "a credential is missing");
      holds(connector.kid, "use", secret);
      const holder = pinned.one("connector", secret.payload.connector);
      secretCounts(judge, secret, holder, target.n);
      connectorCounts(judge, holder);
      holders.set(place, holder);
      (credentials[id] ??= {})[reference] = target.secret;
      descend(holder, [...above, id]);
    }
  };
  for (const connector of connectors) descend(connector, []);
  if (holders.size !== named.size) refuse("malformed", "a credential that isn't needed");
  return { credentials, holders: [...holders.values()] };
}
