// The warrant of a task: docs/formats.md section 11, step by step.
import { parseAs } from "./documents.mjs";
import { refuse } from "./bytes.mjs";
import { covers } from "./trust.mjs";

const LONGEST = { any: 86400, never: 120 };
const PERMISSION = { check: "use", delete: "delete", reveal: "reveal", store: "edit" };

/** The effective selectors of a task that may be acted on, sorted. */
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
  const connectors = asked.targets.map((target) => use(book, task, target, pinned, status, now));
  if (asked.op === "store" && new Set(asked.targets.map((target) => target.secret)).size !== asked.targets.length) {
    refuse("malformed", "stored twice");
  }
  const inputs = asked.input?.length ?? 0;
  if (inputs !== (asked.op === "store" ? asked.targets.length : 0)) refuse("malformed", "inputs"); // (9)
  for (const origin of ["step", "stepGroup", "stage", "pipeline"]) {
    const chosen = (asked.selectors ?? []).filter((one) => one[1] === origin).map((one) => one[0]);
    if (chosen.length) return [...new Set(chosen)].sort();
  }
  return [...new Set(connectors.flatMap((one) => one.payload.selectors ?? []))].sort();
}

function inTime({ op, repeat, to, iat, exp }, now) {
  if (repeat !== (op === "delete" ? "never" : "any") || (to === undefined) !== (repeat === "any")) refuse("malformed", "repeat");
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
function use(book, task, target, pinned, status, now) {
  const { op, keyring } = task.payload;
  const { n = 0, version } = target;
  const holds = (kid, permission, about) =>
    book.chain(kid, permission, about.payload.scope, about.payload.id, now, pinned.grants);
  let connector, secret;
  if (target.excluded && op !== "reveal") refuse("malformed", "excluded"); // (8)
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
  holds(task.kid, PERMISSION[op], secret ?? connector); // (5)
  if (secret) {
    holds(secret.kid, "edit", secret); // (6)
    if (secret.payload.deleted) refuse("conflict", "secret deleted");
    if (!covers(connector.payload.scope, secret.payload.scope)) refuse("denied", "connector's scope");
    if (op !== "delete" && n < (status.secrets?.[secret.payload.id] ?? 1)) refuse("denied", "floor");
  }
  holds(connector.kid, "edit", connector); // (7)
  if (connector.payload.deleted) refuse("conflict", "connector deleted");
  if (connector.payload.keyring !== keyring) refuse("denied", "keyring");
  return connector;
}
