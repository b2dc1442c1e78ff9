// The warrant of a task: docs/formats.md section 11, step by step.
import { parseAs } from "./documents.mjs";
import { b64u, encode, lp, refuse, sha256, uint64 } from "./bytes.mjs";
import { holds, parseCondition } from "./conditions.mjs";
import { isPath } from "./kinds.mjs";
import { allows, covers, resourceOf } from "./trust.mjs";

const LONGEST = { any: 86400, never: 120 };
const NEVER = ["delete", "exec"];
const PERMISSIONS = { check: ["use"], delete: ["delete"], exec: ["exec", "reveal"], reveal: ["reveal"], store: ["edit"] };
const DEEPEST = 4;
const CUSTOM = "CustomSecretManager";
const isLogin = (secret) => secret?.payload.type === "SSHKey";

/** What a task that may be acted on comes to: its effective selectors, sorted, and the credentials by connector id. */
export function warrant(book, compact, now) {
  const task = book.verify(parseAs("task", compact));
  inTime(task.payload, now); // (1)
  return judged(book, task, now);
}

/** Section 23: what a run is called. */
export const runId = (order, n) => b64u(sha256(lp("privyseal/v1/run", order, uint64(n))));

/** The run whose time it is. */
export function due({ iat, exp, interval, runs, deleted }, now) {
  if (deleted || now < iat || now >= exp) return null;
  const n = interval ? Math.floor((now - iat) / interval) : 0;
  return n < runs ? n : null;
}

/** What run n of an order that may be acted on comes to. */
export function runWarrant(book, compact, n, now) {
  const order = book.verify(parseAs("order", compact));
  if (book.newestOf(order)?.digest !== order.digest) refuse("conflict", "a newer order");
  const { iat, exp, interval, runs, deleted, owner } = order.payload;
  const start = iat + n * interval;
  if (deleted) refuse("conflict", "cancelled");
  if (n >= runs || start >= exp) refuse("denied", "no such run");
  if (start > now + 120) refuse("denied", "early");
  if (exp <= now) refuse("expired", "order");
  if ((interval ? Math.min(start + interval, exp) : exp) + 120 <= now) refuse("expired", "late");
  if (order.kid !== owner) refuse("denied", "owner");
  return judged(book, order, now);
}

function judged(book, task, now) {
  const asked = task.payload;
  const status = liveStatus(book, asked, now); // (2)
  const pinned = pins(book, asked); // (3)
  const keyring = pinned.one("keyring", asked.keyring);
  if (!book.isAdministrator(keyring.kid)) refuse("denied", "keyring");
  if (asked.gen < (status.keyrings?.[asked.keyring] ?? 1) || asked.gen !== keyring.payload.gen) {
    refuse("stale_recipient", "generation"); // (4)
  }
  const held = (kid, permission, scope, resource, stated = undefined) =>
    book.chain(kid, permission, scope, resource, now, pinned.grants, stated);
  const holds = (kid, permission, about) =>
    held(kid, permission, about.payload.scope, resourceOf(about.kind, about.payload));
  const judge = { task, pinned, status, keyring, held, holds };
  const uses = asked.targets.map((target) => use(judge, target));
  const connectors = uses.filter(({ secret }) => !isLogin(secret)).map(({ connector }) => connector);
  if (asked.op === "store" && new Set(asked.targets.map((target) => target.secret)).size !== asked.targets.length) {
    refuse("malformed", "stored twice");
  }
  const inputs = { store: asked.targets.length, exec: 1 }[asked.op] ?? 0; // (9)
  if ((asked.input?.length ?? 0) !== inputs) refuse("malformed", "inputs");
  if ((asked.seconds === undefined) === (asked.op === "exec")) refuse("malformed", "seconds");
  const { credentials, holders } = resolved(judge, connectors, uses.map(({ secret }) => secret).filter(isLogin)); // (10)
  const inUse = [...connectors, ...holders];
  return { selectors: effective(asked, inUse), credentials, conditions: conditionsOf(asked, inUse) };
}

/** None of them sets another aside. */
const conditionsOf = (asked, connectors) =>
  [...new Set([asked, ...connectors.map(({ payload }) => payload)].flatMap(({ where }) => where ?? []))].sort();

/** The delegate's step (6). */
export function isFor({ selectors, conditions }, tags) {
  if (!selectors.every((selector) => tags.includes(selector))) refuse("denied", "selectors");
  if (!conditions.every((text) => holds(parseCondition(text), tags))) refuse("denied", "condition");
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

/** What must be true of a target's members, and of no others: section 11, "the forms of a target". */
function hasForm({ op, target }) {
  const has = (...names) => Object.keys(target).every((one) => names.includes(one));
  const { n = 0, version, reference, metadata = {} } = target;
  if (op === "check" && target.secret === undefined) return target.connector !== undefined && has("connector", "latest");
  if (op === "check") return reference !== undefined && has("secret", "reference", "latest");
  if (reference !== undefined) {
    return ["exec", "reveal"].includes(op) && target.connector !== undefined && has("connector", "reference", "metadata") &&
      Object.keys(metadata).every((name) => name === "version");
  }
  const bare = (op === "store" && n === 1) || (op === "delete" && n === 0);
  const excludes = ["exec", "reveal"].includes(op) ? ["excluded"] : [];
  return target.secret !== undefined && has("secret", "n", "version", "latest", ...excludes) &&
    (n > 0 || op === "delete") && (version === undefined) === bare;
}

/** What a grant has to be of: the connector, and the path that it is to read. */
function fetched({ payload: { id, type } }, reference) {
  const path = reference.split("#")[0];
  if (type === CUSTOM) return `connector/${id}`;
  return isPath(path) ? `connector/${id}/${path}` : refuse("malformed", "path");
}

/** The secret, where there is one, and the connector of one target, when it may be acted on. */
function use(judge, target) {
  const { task, pinned, held } = judge;
  const { op, usage } = task.payload;
  if (!hasForm({ op, target })) refuse("malformed", "target"); // (8)
  const secret = target.secret === undefined ? undefined : pinned.one("secret", target.secret);
  const connector = pinned.one("connector", secret ? secret.payload.connector : target.connector);
  if (secret && isLogin(secret) !== (op === "check")) refuse("malformed", "an SSHKey, or none");
  const direct = !secret && op !== "check";
  const about = secret ?? connector;
  const resource = direct ? fetched(connector, target.reference) : resourceOf(about.kind, about.payload);
  for (const permission of [...PERMISSIONS[op], ...(direct ? ["fetch"] : [])]) {
    held(task.kid, permission, about.payload.scope, resource, usage); // (5)
  }
  if (secret) secretCounts(judge, secret, connector, op === "delete" || isLogin(secret) ? Infinity : target.n); // (6)
  connectorCounts(judge, connector); // (7)
  return { secret, connector };
}

function secretCounts({ task, status, holds }, secret, connector, n) {
  holds(secret.kid, "edit", secret);
  if (secret.payload.deleted) refuse("conflict", "secret deleted");
  if (!covers(connector.payload.scope, secret.payload.scope)) refuse("denied", "connector's scope");
  if (n < (status.secrets?.[secret.payload.id] ?? 1)) refuse("denied", "floor");
  if (!allows(secret.payload.usage, task.payload.usage)) refuse("denied", "usage");
}

function connectorCounts(judge, connector) {
  const { task, keyring, holds } = judge;
  holds(connector.kid, "edit", connector);
  if (connector.payload.deleted) refuse("conflict", "connector deleted");
  if (connector.payload.keyring !== task.payload.keyring) refuse("denied", "keyring");
  const away = connector.payload.spec?.executeOnDelegate === false;
  if (away !== (keyring.payload.platform ?? false)) refuse("denied", "whose delegates");
  if (!allows(connector.payload.usage, task.payload.usage)) refuse("denied", "usage");
  if (connector.payload.template) templateCounts(judge, connector.payload);
}

function templateCounts({ pinned, held }, { scope, secrets = [], template: wanted }) {
  const template = pinned.one("template", wanted.id);
  const { content, scope: home, deleted } = template.payload;
  for (const permission of ["edit", "exec"]) held(template.kid, permission, home, undefined);
  if (deleted) refuse("conflict", "template deleted");
  if (b64u(sha256(encode(content))) !== wanted.content) refuse("denied", "another content");
  if (!covers(home, scope)) refuse("denied", "template's scope");
  const named = secrets.map((one) => placeOf(one, scope));
  if (!(content.secrets ?? []).every((one) => named.includes(placeOf(one, home)))) refuse("malformed", "a secret isn't named");
}

/** Where a secret lives, as "SCOPE NAME", that a connector at `scope` means by a reference. */
function placeOf(reference, scope) {
  const [prefix, name] = reference.includes(".") ? reference.split(".") : ["", reference];
  if (prefix === "account") return `account ${name}`;
  return `${prefix === "org" ? scope.split("/").slice(0, 2).join("/") : scope} ${name}`;
}

/** Step (10): the credentials of all connectors and SSHKeys by id, reference to id; and the connectors that hold them. */
function resolved(judge, connectors, logins) {
  const { task, pinned, holds } = judge;
  const named = new Map();
  for (const { secret: id, n, version, latest, ...others } of task.payload.credentials ?? []) {
    if (id === undefined || !latest || Object.keys(others).length) refuse("malformed", "credential");
    const secret = pinned.one("secret", id);
    const wanted = isLogin(secret) ? [true, true] : [false, false];
    if ((n === undefined) !== wanted[0] || (version === undefined) !== wanted[1]) refuse("malformed", "version");
    const place = `${secret.payload.scope} ${secret.payload.identifier}`;
    if (named.has(place)) refuse("malformed", "two credentials");
    named.set(place, { n, secret });
  }
  const credentials = {}, holders = new Map(), needed = new Set(), ids = { connectors: new Set(), logins: new Set() };

  /** The secret that a reference in something means, and its connector, when who signed that may use it. */
  const meant = (kid, scope, reference) => {
    const place = placeOf(reference, scope);
    const { n, secret } = named.get(place) ?? refuse("malformed", "a credential is missing");
    holds(kid, "use", secret);
    const holder = pinned.one("connector", secret.payload.connector);
    secretCounts(judge, secret, holder, isLogin(secret) ? Infinity : n);
    connectorCounts(judge, holder);
    needed.add(place);
    if (!isLogin(secret)) holders.set(holder.payload.id, holder);
    return { secret, holder };
  };

  // Every way down is gone anew: this one is for being right, not for being fast.
  const each = ({ kid, payload: { id, scope, secrets = [] } }, below, whenLogin) => {
    for (const reference of secrets) {
      const { secret, holder } = meant(kid, scope, reference);
      (credentials[id] ??= {})[reference] = secret.payload.id;
      if (isLogin(secret)) whenLogin(secret, reference);
      else descend(holder, below);
    }
  };
  const logIn = (login, below) => {
    ids.logins.add(login.payload.id);
    each(login, below, () => refuse("malformed", "an SSHKey in an SSHKey"));
  };
  const descend = (connector, above) => {
    const { id, type, template, spec } = connector.payload;
    if (above.includes(id)) refuse("malformed", "a cycle");
    if (above.length >= DEEPEST) refuse("malformed", "too deep");
    ids.connectors.add(id);
    const below = [...above, id];
    each(connector, below, (login, reference) => {
      if (type !== CUSTOM || spec?.connectorRef !== reference) refuse("malformed", "an SSHKey for a value");
      logIn(login, below);
    });
    if (!template) return;
    const { kid, payload: { scope, content } } = pinned.one("template", template.id);
    for (const reference of content.secrets ?? []) {
      if (isLogin(meant(kid, scope, reference).secret)) refuse("malformed", "an SSHKey for a script");
    }
  };
  for (const connector of connectors) descend(connector, []);
  for (const login of logins) logIn(login, []);
  if ([...ids.logins].some((id) => ids.connectors.has(id))) refuse("malformed", "one id for two");
  if (needed.size !== named.size) refuse("malformed", "a credential that isn't needed");
  return { credentials, holders: [...holders.values()] };
}
