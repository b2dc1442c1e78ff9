// The kinds of documents, docs/formats.md section 5, as types: a type is a function that says whether a value fits.
import { Refusal, isObject } from "./bytes.mjs";
import { parseCondition, written } from "./conditions.mjs";

const text = (pattern) => (value) => typeof value === "string" && pattern.test(value);
const atMost = (points) => (value) => typeof value === "string" && [...value].length <= points;
const integer = (least, most) => (value) => Number.isSafeInteger(value) && value >= least && value <= most;
const oneOf = (...values) => (value) => values.includes(value);
const list = (type, least, most) => (value) =>
  Array.isArray(value) && value.length >= least && value.length <= most && value.every(type);
const tuple = (...types) => (value) =>
  Array.isArray(value) && value.length === types.length && types.every((type, at) => type(value[at]));
const map = (names, values) => (value) =>
  isObject(value) && Object.entries(value).every(([name, member]) => names(name) && values(member));
const isDefault = (value, fallback) => JSON.stringify(value) === JSON.stringify(fallback);

/** Fields by name: [type], or [type, default], or [type, undefined] for one that may be absent. */
const object = (fields) => (value) =>
  isObject(value) &&
  Object.keys(value).every((name) => Object.hasOwn(fields, name)) &&
  Object.entries(fields).every(([name, field]) =>
    Object.hasOwn(value, name)
      ? field[0](value[name]) && !(field.length > 1 && isDefault(value[name], field[1]))
      : field.length > 1);

const identifier = "[a-zA-Z_][0-9a-zA-Z_]{0,127}";
const Account = text(/^[a-z2-7]{52}$/);
const Opaque = text(/^[a-z2-7]{26}$/);
const Identifier = text(new RegExp(`^${identifier}$`));
const Name = text(/^[a-zA-Z_0-9\-.][-0-9a-zA-Z_ .]{0,127}$/);
const Scope = text(new RegExp(`^(account|org/${identifier}(/project/${identifier})?)$`));
const Selector = text(/^[0-9a-z_.:=/@+-]{1,128}$/);
const Digest = text(/^[0-9A-Za-z_-]{42}[AEIMQUYcgkosw048]$/);
const Key = Digest;
const Signature = text(/^[0-9A-Za-z_-]{85}[AQgw]$/);
const SealingKey = text(/^[0-9A-Za-z_-]{1621}[AQgw]$/);
const ISSUER = new RegExp("^(?!.{256})(https://[a-z0-9]([a-z0-9-]*[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*|" +
  "http://(localhost|127\\.0\\.0\\.1|\\[::1\\]))(:[1-9][0-9]{0,4})?(/[A-Za-z0-9_~-][A-Za-z0-9_~.-]*)*$");
const Seconds = integer(0, 253402300799);
const Num = integer(1, Number.MAX_SAFE_INTEGER);
const Count = integer(0, Number.MAX_SAFE_INTEGER);
const Line = atMost(1024);
const Tags = map(text(/^[!-~]{1,128}$/), atMost(256));
const Reference = text(new RegExp(`^((account|org)\\.)?${identifier}$`));
const VersionLabel = text(/^[0-9a-zA-Z][^/&\p{White_Space}\u0000-\u0020\u007f\ufeff]{0,63}$/u);
const Bool = (value) => typeof value === "boolean";

/** The one text of a condition. */
function Condition(value) {
  if (typeof value !== "string") return false;
  try {
    return written(parseCondition(value)) === value;
  } catch (error) {
    if (error instanceof Refusal) return false;
    throw error;
  }
}

/** Section 2: parts with slashes between, none of them empty, a step, or with a character that isn't for paths. */
export const isPath = (value) => value.split("/").every((part) => ![".", "..", ""].includes(part) && !/[#\0-\x1f\x7f]/.test(part));

function Resource(value) {
  if (!atMost(2200)(value)) return false;
  const named = /^connector\/([^/]*)(\/([^]*))?$/.exec(value);
  return named ? Opaque(named[1]) && (named[2] === undefined || isPath(named[3])) : Opaque(value);
}

function plain(value, levels = 16) {
  if (typeof value === "object" && value !== null && levels === 0) return false;
  if (Array.isArray(value)) return value.every((member) => plain(member, levels - 1));
  if (isObject(value)) {
    return Object.entries(value).every(([name, member]) => /^[\0-\x7f]*$/.test(name) && plain(member, levels - 1));
  }
  return value === null || typeof value === "string" || typeof value === "boolean" || Number.isSafeInteger(value);
}

const every = { v: [oneOf(1)], acct: [Account] };
const revised = { ...every, rev: [Num], prev: [Digest, undefined], iat: [Seconds] };
const placed = {
  ...revised,
  id: [Opaque],
  scope: [Scope],
  identifier: [Identifier],
  name: [Name],
  description: [Line, ""],
  tags: [Tags, {}],
  deleted: [Bool, false],
};
const permissions = ["admin", "delete", "edit", "exec", "fetch", "renew", "reveal", "use", "view"];
const codes = ["ok", "partial", "malformed", "unauthenticated", "denied", "not_found", "conflict", "not_ready",
  "stale_recipient", "tampered", "unavailable", "overloaded", "expired", "internal"];

const Target = object({
  secret: [Opaque, undefined],
  connector: [Opaque, undefined],
  reference: [atMost(2048), ""],
  metadata: [Tags, {}],
  n: [Count, 0],
  version: [Digest, undefined],
  latest: [Bool, false],
  excluded: [Bool, false],
});

/** Section 5: secrets are in order, each once, and the account has none of an organisation. */
const namesItsSecrets = ({ scope, secrets = [] }) =>
  secrets.every((one, at) => at === 0 || secrets[at - 1] < one) &&
  !(scope === "account" && secrets.some((one) => one.startsWith("org.")));

const Label = text(/^[0-9A-Za-z_][0-9A-Za-z_.-]{0,127}$/);
const ascending = (values) => values.every((one, at) => at === 0 || values[at - 1] < one);
const Labels = (value) => list(Label, 1, 64)(value) && ascending(value);
const isFilled = (value) => Object.keys(value).length > 0;

/** Section 5: an SSHKey has settings and secrets, anything else what leads to its value. */
const isOneOfBoth = (value) => (value.type === "SSHKey" ? ["reference", "metadata", "filename"] : ["spec", "secrets"])
  .every((name) => !Object.hasOwn(value, name));

const runsWhatItMay = ({ type, template }) => template === undefined || type === "CustomSecretManager";

const Script = atMost(65536);
const TemplateContent = object({
  type: [oneOf("SecretManager")],
  shell: [oneOf("Bash", "PowerShell", "Python")],
  script: [(value) => Script(value) && value !== ""],
  write: [Script, ""],
  remove: [Script, ""],
  inputs: [list(object({ name: [Identifier], value: [atMost(4096), undefined] }), 0, 64), []],
  selectors: [list(Selector, 0, 64), []],
  secrets: [list(Reference, 0, 64), []],
});
const namesEachOnce = ({ inputs = [] }) => new Set(inputs.map(({ name }) => name)).size === inputs.length;

const both = (...types) => (value) => types.every((type) => type(value));

const Keyring = object({
  ...revised,
  id: [Identifier],
  gen: [Num],
  seal: [SealingKey],
  certifiers: [list(object({ gen: [Num], key: [Key] }), 1, 64)],
  platform: [Bool, false],
  oidc: [object({
    issuer: [text(ISSUER), ""],
    keys: [list(object({ gen: [Num], n: [text(/^[g-z0-9_-][0-9A-Za-z_-]{510}[BDFHJLNPRTVXZbdfhjlnprtvxz13579_]$/)] }), 1, 64)],
  }), undefined],
});

/** An issuer's keys are of accepted generations, ascending. */
const isAcceptedInOrder = ({ certifiers, oidc }) => (oidc?.keys ?? []).every(({ gen }, at, keys) =>
  certifiers.some((one) => one.gen === gen) && (at === 0 || keys[at - 1].gen < gen));

const Usage = both(object({ applications: [Labels, undefined], environments: [Labels, undefined] }), isFilled);
const TaskUsage = both(object({ application: [Label, undefined], environment: [Label, undefined] }), isFilled);

export const KINDS = {
  account: object({
    ...revised,
    acct: [(value) => value === "" || Account(value)],
    name: [Name],
    roots: [list(Key, 1, 8)],
    administrators: [list(object({ name: [Name], key: [Key] }), 1, 64)],
    consents: [map(Key, Signature), {}],
  }),
  keyring: (value) => Keyring(value) && isAcceptedInOrder(value),
  status: object({
    ...revised,
    id: [oneOf("status")],
    exp: [Seconds],
    grants: [list(Opaque, 0, Infinity), []],
    keys: [list(Key, 0, Infinity), []],
    secrets: [map(Opaque, Num), {}],
    keyrings: [map(Identifier, Num), {}],
    groups: [map(Selector, Num), {}],
    base: [Digest, undefined],
  }),
  grant: object({
    ...revised,
    id: [Opaque],
    principal: [object({ name: [Name], key: [Key], type: [oneOf("person", "service")] })],
    permissions: [list(oneOf(...permissions), 1, 9)],
    scope: [Scope],
    resource: [Resource, undefined],
    parent: [Opaque, undefined],
    usage: [Usage, undefined],
    exp: [Seconds],
  }),
  group: both(object({ ...revised, id: [Selector], tags: [list(Selector, 0, 64), []], deleted: [Bool, false] }),
    ({ tags = [], deleted }) => ascending(tags) && !(deleted && tags.length > 0)),
  scope: object(placed),
  connector: both(object({
    ...placed,
    type: [text(/^[A-Z][A-Za-z0-9]{0,63}$/)],
    keyring: [Identifier],
    selectors: [list(Selector, 0, 64), []],
    where: [Condition, ""],
    spec: [(value) => isObject(value) && plain(value), {}],
    secrets: [list(Reference, 0, 64), []],
    template: [object({ id: [Opaque], content: [Digest] }), undefined],
    usage: [Usage, undefined],
  }), namesItsSecrets, runsWhatItMay),
  secret: both(object({
    ...placed,
    type: [oneOf("SecretText", "SecretFile", "SSHKey")],
    connector: [Opaque],
    reference: [atMost(2048), ""],
    metadata: [Tags, {}],
    filename: [atMost(255), ""],
    spec: [(value) => isObject(value) && plain(value), {}],
    secrets: [list(Reference, 0, 8), []],
    usage: [Usage, undefined],
  }), namesItsSecrets, isOneOfBoth),
  template: both(object({ ...placed, version: [VersionLabel], content: [TemplateContent] }),
    ({ scope, content }) => namesItsSecrets({ scope, secrets: content.secrets }) && namesEachOnce(content)),
  certificate: object({
    ...every,
    keyring: [Identifier],
    gen: [Num],
    key: [Key],
    name: [Selector],
    tags: [list(Selector, 0, 66), []],
    scopes: [list(Scope, 0, 64), []],
    group: [Selector, undefined],
    iat: [Seconds],
    exp: [Seconds],
  }),
  task: object({
    ...every,
    keyring: [Identifier],
    gen: [Num],
    op: [oneOf("check", "delete", "exec", "reveal", "store")],
    repeat: [oneOf("any", "never")],
    to: [Digest, undefined],
    targets: [list(Target, 1, 1000)],
    credentials: [list(Target, 0, 256), []],
    pins: [list(tuple(oneOf("account", "keyring", "grant", "connector", "secret", "template"), atMost(128), Num, Digest), 1, 4000)],
    selectors: [list(tuple(Selector, oneOf("step", "stepGroup", "stage", "pipeline")), 0, 64), []],
    where: [Condition, ""],
    status: [tuple(Num, Digest)],
    reader: [SealingKey],
    input: [list(Digest, 0, 1000), []],
    seconds: [integer(1, 86400), undefined],
    usage: [TaskUsage, undefined],
    jti: [Opaque],
    iat: [Seconds],
    exp: [Seconds],
  }),
  order: both(object({
    ...revised,
    id: [Opaque],
    owner: [Digest],
    name: [Name],
    keyring: [Identifier],
    gen: [Num],
    op: [oneOf("check", "exec")],
    targets: [list(Target, 1, 1000)],
    credentials: [list(Target, 0, 256), []],
    pins: [list(tuple(oneOf("account", "keyring", "grant", "connector", "secret", "template"), atMost(128), Num, Digest), 1, 4000)],
    selectors: [list(tuple(Selector, oneOf("step", "stepGroup", "stage", "pipeline")), 0, 64), []],
    where: [Condition, ""],
    status: [tuple(Num, Digest)],
    reader: [SealingKey],
    input: [list(Digest, 0, 1), []],
    seconds: [integer(1, 86400), undefined],
    usage: [TaskUsage, undefined],
    jti: [Opaque],
    exp: [Seconds],
    interval: [integer(0, 90 * 86400)],
    runs: [integer(1, 129600)],
    deleted: [Bool, false],
  }), ({ iat, exp, interval, runs }) =>
    exp > iat && exp - iat <= 90 * 86400 && (interval === 0 ? runs === 1 : interval >= 60)),
  answer: object({
    ...every,
    task: [Digest],
    code: [oneOf(...codes)],
    sealed: [Digest, undefined],
    stored: [list(Digest, 0, 1000), []],
    iat: [Seconds],
  }),
  output: object({ ...every, task: [Digest], sealed: [Digest], iat: [Seconds] }),
  checked: object({ ...every, connector: [Opaque], revision: [Digest], code: [oneOf(...codes)], iat: [Seconds] }),
};

export const isIdentifier = Identifier;
export const isAccount = Account;
