// Who may say what: docs/formats.md sections 6 to 10. A book that takes documents in, and answers questions.
import { accountId, parse, parseAs, verified } from "./documents.mjs";
import { lp, mustFit, refuse, thumbprint, uint64, unb64u } from "./bytes.mjs";

const DAY = 86400;
const SKEW = 120;
const NO_STATUS = { grants: [], keys: [], secrets: {}, keyrings: {}, groups: {} };

/** Whether a scope is `other` or lies above it. */
export const covers = (scope, other) =>
  scope === "account" || scope === other || other.startsWith(`${scope}/project/`);

/** Whether a grant of `resource` is one of `other`; an absent one is of everything. */
const resourceCovers = (resource, other) =>
  resource === undefined || (other !== undefined && (other === resource || other.startsWith(`${resource}/`)));

/** A payload's member, or what it means when it is left out. */
const listed = (payload, name) => payload?.[name] ?? NO_STATUS[name];

/** What a usage allows of each of the two, where it says anything, beside what is stated. */
const limits = (usage, stated) => [[usage?.applications, stated?.application], [usage?.environments, stated?.environment]]
  .filter(([allowed]) => allowed !== undefined);

/** Whether a usage allows what is stated. */
export const allows = (usage, stated) => limits(usage, stated).every(([allowed, said]) => allowed.includes(said));

const isWithin = (inner, outer) =>
  limits(outer, { application: inner?.applications, environment: inner?.environments })
    .every(([above, below]) => below !== undefined && below.every((one) => above.includes(one)));

export class Book {
  constructor(account) {
    this.id = account;
    this.account = undefined;
    this.last = undefined; // the newest status, whether it counts or not
    this.grants = new Map();
    this.known = new Map(); // by digest
    this.newest = new Map(); // by kind and id
    this.keys = new Map(); // by thumbprint
  }

  find(digest) {
    return this.known.get(digest);
  }

  newestOf(document) {
    return this.newest.get(nameOf(document));
  }

  isAdministrator(kid) {
    return this.administrators.has(kid) && !listed(this.last?.payload, "keys").includes(kid);
  }

  get administrators() {
    return new Set((this.account?.payload.administrators ?? []).map((person) => thumbprint(person.key)));
  }

  /** The newest status, where it counts. */
  get status() {
    if (!this.last) return undefined;
    const founder = this.last.payload.base ? this.find(this.last.payload.base) : this.last;
    return this.administrators.has(founder.kid) ? this.last : undefined;
  }

  /** The newest document of a keyring, where it counts. */
  keyring(id) {
    const document = this.newest.get(`keyring ${id}`);
    return document && this.isAdministrator(document.kid) ? document : refuse("not_ready", "keyring");
  }

  /** The newest document of a group, where it counts. */
  group(name) {
    const document = this.newest.get(`group ${name}`);
    return document && this.isAdministrator(document.kid) ? document : undefined;
  }

  /** Section 10: the tags of a certificate's delegate, ascending. */
  owned({ tags = [], group }) {
    if (group === undefined) return [...new Set(tags)].sort();
    const known = this.group(group)?.payload;
    if ((known?.rev ?? 0) < (listed(this.status?.payload, "groups")[group] ?? 0)) refuse("not_ready", "group");
    return [...new Set([...tags, group, ...(known?.tags ?? [])])].sort();
  }

  /** A document whose signer is known and whose signature fits. */
  verify(document) {
    if (document.payload.acct !== this.id) refuse("tampered", "another account");
    const key = this.keys.get(document.kid) ?? refuse("unauthenticated", "signer");
    return verified(document, key);
  }

  admit(compact, now) {
    const document = parse(compact);
    const { kind, payload } = document;
    if (this.known.has(document.digest)) return;
    if (kind === "account") return this.#admitAccount(document);
    if (["answer", "certificate", "checked", "output", "task"].includes(kind)) refuse("malformed", "not kept");
    this.verify(document); // 1 to 3
    if ((payload.rev === 1) !== (payload.prev === undefined)) refuse("malformed", "prev"); // 4
    if (kind === "status") return this.#admitStatus(document, now); // 5
    const before = this.newestOf(document);
    if (before) follows(document, before); // 6, 7
    this.#mayBeSigned(document, now); // 8
    this.#take(document);
    if (kind === "grant") {
      this.grants.set(payload.id, document);
      this.keys.set(thumbprint(payload.principal.key), payload.principal.key);
    }
  }

  #take(document) {
    this.known.set(document.digest, document);
    this.newest.set(nameOf(document), document);
  }

  #admitAccount(document) {
    const { payload, kid } = document;
    const current = this.account;
    if (payload.acct !== this.id) refuse("tampered", "another account");
    if (!current) {
      if (payload.rev !== 1) refuse("not_ready", "the first is missing");
      if (accountId(payload) !== this.id) refuse("tampered", "account id");
    } else {
      const rev = current.payload.rev;
      if (payload.rev < rev) refuse("conflict", "older");
      if (payload.rev === rev) refuse("tampered", "fork");
      if (payload.rev > rev + 1) refuse("not_ready", "one in between");
      if (payload.prev !== current.digest) refuse("tampered", "prev");
    }
    const roots = (current ?? document).payload.roots;
    const root = roots.find((key) => thumbprint(key) === kid) ?? refuse("tampered", "no root");
    verified(document, root);
    for (const key of payload.roots.filter((one) => current && !roots.includes(one))) {
      const consent = payload.consents?.[key] ?? refuse("tampered", "no consent");
      const message = lp("privyseal/v1/root-consent", payload.acct, uint64(payload.rev), payload.prev, key);
      mustFit(key, unb64u(consent, 64), message);
    }
    this.account = document;
    this.#take(document);
    for (const person of payload.administrators) this.keys.set(thumbprint(person.key), person.key);
  }

  #admitStatus(document, now) {
    const { payload, kid, digest } = document;
    const current = this.last;
    if (current) {
      const rev = current.payload.rev;
      if (payload.rev < rev) refuse("conflict", "rolled back");
      if (payload.rev === rev) refuse("tampered", "fork");
      if (payload.rev === rev + 1 && payload.prev !== current.digest) refuse("tampered", "prev");
    }
    if (payload.exp - payload.iat > 400 * DAY || payload.iat > now + SKEW) refuse("denied", "time");
    if (payload.base === undefined) {
      if (!this.isAdministrator(kid)) refuse("denied", "no administrator");
    } else {
      this.chain(kid, "renew", "account", undefined, now);
      const base = this.find(payload.base);
      if (base?.kind !== "status") refuse("not_ready", "base");
      if (payload.rev - base.payload.rev > 100000) refuse("denied", "too far ahead");
      if (base.payload.base !== undefined || !this.isAdministrator(base.kid)) refuse("denied", "base");
      if (current && payload.base !== (current.payload.base ?? current.digest)) refuse("tampered", "another base");
      for (const name of Object.keys(NO_STATUS)) {
        if (JSON.stringify(listed(payload, name)) !== JSON.stringify(listed(base.payload, name))) refuse("tampered", name);
      }
    }
    this.last = document;
    this.#take({ ...document, digest });
  }

  #mayBeSigned({ kind, kid, payload }, now) {
    if (kind === "keyring" || kind === "group") {
      if (!this.isAdministrator(kid)) refuse("denied", "no administrator");
    } else if (kind === "order") {
      if (kid !== payload.owner && !(payload.deleted && this.isAdministrator(kid))) refuse("denied", "owner");
    } else if (kind === "grant") this.#grantIsFounded({ kid, payload }, now);
    else if (kind === "scope") this.chain(kid, "admin", payload.scope, undefined, now);
    else if (kind === "template") {
      for (const one of payload.deleted ? ["delete"] : ["edit", "exec"]) this.chain(kid, one, payload.scope, undefined, now);
    }
    else this.chain(kid, payload.deleted ? "delete" : "edit", payload.scope, resourceOf(kind, payload), now);
  }

  #grantIsFounded(grant, now) {
    const links = [grant];
    while (links.length <= 4 && links.at(-1).payload.parent !== undefined) {
      links.push(this.grants.get(links.at(-1).payload.parent) ?? refuse("not_ready", "parent"));
    }
    const time = Math.min(now, ...links.map((link) => link.payload.exp - 1));
    const known = new Map(links.map((link) => [link.payload.id, link]));
    climb(grant, known, NO_STATUS, (kid) => this.administrators.has(kid), time);
  }

  /** Section 7: refuses unless that key holds the permission, by the grants given or by all. */
  chain(kid, permission, scope, resource, now, grants = this.grants, stated = undefined) {
    const status = this.last?.payload ?? NO_STATUS;
    if (listed(status, "keys").includes(kid)) refuse("denied", "revoked");
    if (this.isAdministrator(kid)) return;
    for (const grant of grants.values()) {
      const { principal, permissions, scope: above, resource: only } = grant.payload;
      if (thumbprint(principal.key) !== kid || !permissions.includes(permission) || !covers(above, scope)) continue;
      if (!resourceCovers(only, resource)) continue;
      if (!allows(grant.payload.usage, stated)) continue;
      try {
        return climb(grant, grants, status, (one) => this.isAdministrator(one), now);
      } catch (error) {
        if (error.outcome !== "denied") throw error;
      }
    }
    refuse("denied", "no grant");
  }
}

const nameOf = ({ kind, payload }) => (kind === "account" ? "account" : `${kind} ${payload.id}`);

function climb(grant, grants, status, isAdministrator, now) {
  for (let links = 1; ; links++) {
    const { id, principal, iat, exp, parent } = grant.payload;
    if (links > 4) refuse("denied", "too long a chain");
    if (listed(status, "grants").includes(id) || listed(status, "keys").includes(thumbprint(principal.key)) ||
        exp <= now || iat > now + SKEW || exp - iat > (principal.type === "person" ? 90 : 400) * DAY) {
      refuse("denied", "not live");
    }
    if (parent === undefined) return isAdministrator(grant.kid) || refuse("denied", "unfounded");
    const above = grants.get(parent) ?? refuse("denied", "unfounded");
    const given = grant.payload, held = above.payload;
    if (thumbprint(held.principal.key) !== grant.kid || !held.permissions.includes("admin") ||
        !given.permissions.every((one) => held.permissions.includes(one)) || !covers(held.scope, given.scope) ||
        !resourceCovers(held.resource, given.resource) || given.exp > held.exp ||
        !isWithin(given.usage, held.usage)) {
      refuse("denied", "exceeds");
    }
    grant = above;
  }
}

const FIXED = {
  secret: ["identifier", "type", "connector"],
  connector: ["identifier", "type", "keyring"],
  scope: ["identifier"],
  template: ["identifier", "version", "content"],
};

function follows({ kind, payload }, before) {
  const old = before.payload;
  if (kind in FIXED && payload.scope !== old.scope) refuse("conflict", "scope");
  if (kind === "order" && payload.owner !== old.owner) refuse("conflict", "owner");
  if (payload.rev < old.rev) refuse("conflict", "older");
  if (payload.rev === old.rev || (payload.rev === old.rev + 1 && payload.prev !== before.digest)) refuse("tampered", "fork");
  if ((FIXED[kind] ?? []).some((name) => JSON.stringify(payload[name]) !== JSON.stringify(old[name]))) refuse("conflict", "fixed");
  if (kind === "grant" && (payload.principal.key !== old.principal.key ||
      (payload.parent !== undefined && payload.parent !== old.parent))) refuse("conflict", "fixed");
  if (kind === "keyring" && payload.gen < old.gen) refuse("conflict", "generation");
  if (old.deleted && kind !== "group") refuse("conflict", "deleted");
}

/** Section 10: the certificate, if that keyring document and status vouch for it. */
export function checkCertificate(compact, keyring, status, now) {
  const document = parseAs("certificate", compact);
  const { payload, kid } = document;
  const certifier = keyring.payload.certifiers.find((one) => thumbprint(one.key) === kid);
  if (!certifier || payload.keyring !== keyring.payload.id || payload.acct !== keyring.payload.acct) {
    refuse("unauthenticated", "certifier");
  }
  verified(document, certifier.key);
  if (certifier.gen !== payload.gen) refuse("tampered", "generation");
  if (payload.iat > now + SKEW || payload.exp <= now || payload.exp - payload.iat > 604800) refuse("denied", "time");
  const keys = listed(status, "keys");
  if (payload.gen < (listed(status, "keyrings")[payload.keyring] ?? 1)) refuse("denied", "generation");
  if (keys.includes(thumbprint(payload.key)) || keys.includes(kid)) refuse("denied", "revoked");
  return document;
}

/** How a grant names a thing: a secret by its id, a connector with its kind before it. */
export const resourceOf = (kind, payload) => (kind === "connector" ? `connector/${payload.id}` : payload.id);
