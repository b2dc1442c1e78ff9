// What each file of tests/vectors is held against. A check throws a Refusal, or an Error where the vector's values differ.
import { deepStrictEqual as same } from "node:assert";
import { createPublicKey, verify } from "node:crypto";
import { Book, checkCertificate, covers } from "./trust.mjs";
import { due, isFor, runId, runWarrant, warrant } from "./warrant.mjs";
import { holds, parseCondition, written } from "./conditions.mjs";
import { accountId, parse, parseAs, verified } from "./documents.mjs";
import * as sealing from "./sealing.mjs";
import { Reader, Refusal, b32, b64u, bytes, decode, digest, encode, hex, isObject, lp, mustFit, refuse, sha256,
  signatureFits, thumbprint, unb64u } from "./bytes.mjs";

const blobDigest = (blob) => b64u(sha256(blob));

function base64url(file, { text, hex: data, base32 }) {
  const read = unb64u(text);
  same([read.toString("hex"), b32(read)], [data, base32]);
}

function framing(file, { hex: data, parts, count = parts?.length }) {
  const reader = new Reader(hex(data)), read = [];
  for (let at = 0; at < count; at++) read.push(reader.field().toString("hex"));
  reader.end();
  same(read, parts);
  same(lp(...read.map(hex)).toString("hex"), data);
}

function canonical(file, { hex: data }) {
  const value = decode(hex(data));
  if (!isObject(value)) refuse("malformed", "no object");
}

// An escaped # is the one departure from canonical JSON: without it nothing in the text begins a key.
function inputs(file, { text, inputs: given }) {
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    refuse("malformed", "JSON");
  }
  if (!isObject(value)) refuse("malformed", "no object");
  for (const [name, one] of Object.entries(value)) {
    const named = /^[a-zA-Z_][0-9a-zA-Z_]{0,127}$/.test(name) || name === "executionTarget.host";
    if (!named || typeof one !== "string" || [...one].length > 4096) refuse("malformed", "an input");
    if (one.includes("<+") || one.includes("\0") || !one.isWellFormed()) refuse("malformed", "a text that may not be");
  }
  if (bytes(encode(value)).toString().replaceAll("#", "\\u0023") !== text) refuse("malformed", "form");
  if ([...text].length > 2048) refuse("malformed", "too long");
  same(value, given);
}

function aads(file, { label, place, hex: data, sha256: hash, encryption_context }) {
  const encoded = sealing.aad(label, place);
  same(encoded.toString("hex"), data);
  same(sha256(encoded).toString("hex"), hash);
  same(encryption_context, {
    "privyseal:account": place.account,
    "privyseal:secret": place.secret,
    "privyseal:aad": b64u(sha256(encoded)),
  });
}

function documents(file, { compact, key, kind, digest: name, payload }) {
  const document = verified(parse(compact), file.keys[key].key);
  same([document.kind, document.kid, document.digest], [kind, file.keys[key].kid, name]);
  same(document.kid, thumbprint(file.keys[key].key));
  same(document.payload, payload);
  if (kind === "account" && payload.rev === 1) same(accountId(document.payload), payload.acct);
}

async function keyrings(file, one) {
  const from = (label) => sealing.derived(hex(one.seed), `privyseal/v1/keyring-${label}`, one.account, one.keyring, one.generation);
  same(from("seal").toString("hex"), one.sealing_seed);
  same(b64u((await sealing.sealingKey(from("seal"))).raw), one.sealing_public);
  const certifying = sealing.ed25519Public(from("certify"));
  same([certifying, thumbprint(certifying)], [one.certifying_public, one.certifying_kid]);
  same([from("kek").toString("hex"), from("mac").toString("hex")], [one.kek, one.mac_key]);
}

const keyringFiles = (file, { text, generations, oidc = {} }) => same(sealing.keyringFile(text), { generations, oidc });

/** Section 21. */
function oidc({ keyring }, { floor, configuration, jwks, connector, claims: told, token }) {
  const { issuer, keys } = keyring.oidc;
  const published = (least) => keys.filter(({ gen }) => gen >= least).map(({ n }) => ({
    kty: "RSA", use: "sig", alg: "RS256", kid: b64u(sha256(`{"e":"AQAB","kty":"RSA","n":"${n}"}`)), n, e: "AQAB",
  }));
  if (!token) {
    same(jwks, { keys: published(floor) });
    same([configuration.issuer, configuration.jwks_uri], [issuer, `${issuer}/jwks.json`]);
    same(configuration.id_token_signing_alg_values_supported, ["RS256"]);
    return;
  }
  const parts = token.split(".");
  const [header, claims] = parts.slice(0, 2).map((part) => JSON.parse(unb64u(part).toString("utf8")));
  const key = published(1).find(({ kid }) => kid === header.kid);
  same(header, { alg: "RS256", kid: key.kid, typ: "JWT" });
  const fits = verify("sha256", bytes(`${parts[0]}.${parts[1]}`), createPublicKey({ key, format: "jwk" }), unb64u(parts[2]));
  same(fits, true);
  same(claims, told);
  const [, org = "", , project = ""] = connector.scope.split("/");
  const { acct, identifier } = connector;
  const scope = (org && `:org/${org}`) + (project && `:project/${project}`);
  const { aud, iat, jti } = told;
  same(claims, { iss: issuer, sub: `account/${acct}${scope}:connector/${identifier}`, aud, iat, nbf: iat, exp: iat + 600, jti,
    account_id: acct, organization_id: org, project_id: project, connector_id: identifier });
}

function padding(file, { padded, value }) {
  same(sealing.unpadded(hex(padded)).toString("hex"), value);
  same(sealing.padded(hex(value)).toString("hex"), padded);
}

async function sealed(file, { seed, info, sealed: text, value, digest: name }) {
  const blob = unb64u(text);
  same((await sealing.open(hex(seed), hex(info), blob)).toString("hex"), value);
  same(blobDigest(blob), name);
}

const aeads = (file, { key, aad, ciphertext, plaintext }) =>
  same(sealing.decrypt(hex(key), hex(ciphertext), hex(aad)).toString("hex"), plaintext);

function records(file, { record, place = file.place, value }) {
  const generations = Object.fromEntries(
    Object.entries(file.generations).map(([number, keys]) => [number, { kek: hex(keys.kek), mac_key: hex(keys.mac_key) }]),
  );
  same(sealing.openRecord(hex(record), place, file.keyring, generations).toString("hex"), value);
}

function references(file, { stored, place = file.place, fields }) {
  const generations = Object.fromEntries(
    Object.entries(file.generations).map(([number, keys]) => [number, { mac_key: hex(keys.mac_key) }]),
  );
  same(sealing.openReference(hex(stored), place, generations), fields);
}

function output(file, { hex: data, items }) {
  const read = sealing.unpackOutput(hex(data));
  same(read.map((item) => (item.problem ? { problem: encode(item.problem) } : { value: item.value.toString("hex") })), items);
}

async function outcomes(file, { certificate, answer, sealed: text, output: told }) {
  const { payload: identity } = checkCertificate(certificate, parseAs("keyring", file.keyring), undefined, file.now);
  const task = parseAs("task", file.task);
  const { payload } = verified(parseAs("answer", answer), identity.key);
  const blob = unb64u(text);
  if (payload.acct !== task.payload.acct || payload.task !== task.digest || payload.sealed !== blobDigest(blob)) {
    refuse("tampered", "another answer");
  }
  const place = { purpose: "answer", account: task.payload.acct, keyring: task.payload.keyring, scope: "", secret: "", n: 0,
    version: task.digest, connector: "" };
  const opened = await sealing.open(hex(file.reader_seed), sealing.aad("privyseal/v1/answer", place), blob);
  same(opened.toString("hex"), told);
  sealing.unpackOutput(opened);
}

/** Section 22. */
async function streams(file, { opening, key, chunks, written, over }) {
  const { payload } = verified(parseAs("output", opening), file.delegate);
  const blob = unb64u(key);
  if (payload.acct !== file.account || payload.task !== file.task || payload.sealed !== blobDigest(blob)) {
    refuse("tampered", "another output");
  }
  const place = { purpose: "answer", account: file.account, keyring: file.keyring, scope: "", secret: "", n: 0,
    version: file.task, connector: "" };
  const opened = await sealing.open(hex(file.reader_seed), sealing.aad("privyseal/v1/output", place), blob);
  if (opened.length !== 32) refuse("opening_failed", "key");
  const read = sealing.openStream(opened, file.task, chunks.map(hex));
  same(read.written.map(([stream, data]) => [stream, data.toString("hex")]), written);
  same(read.over, over);
}

function hello(file, { origin, nonce, certificate, key, proof, message: told }) {
  const message = lp("privyseal/v1/hello", origin, hex(nonce), digest(certificate));
  mustFit(key, unb64u(proof), message);
  same(message.toString("hex"), told);
}

function audit(file, { links, after = { seq: 0, hash: b64u(Buffer.alloc(32)) }, head: told }) {
  let head = after;
  for (const { seq, prev, hash, entry } of links) {
    const anew = b64u(sha256(lp("privyseal/v1/audit", unb64u(head.hash, 32), entry)));
    if (seq !== head.seq + 1 || prev !== head.hash || hash !== anew) refuse("tampered", `entry ${head.seq + 1}`);
    head = { seq, hash };
  }
  same(head, told);
}

/** Section 20. */
function tokens(file, { token }) {
  const bad = (why) => refuse("unauthenticated", why);
  const names = (value, wanted) => isObject(value) && Object.keys(value).sort().join() === wanted;
  const parts = token.split(".");
  if (token.length > 2048 || parts.length !== 3) bad("form");
  let header, claims;
  try {
    [header, claims] = parts.slice(0, 2).map((part) => JSON.parse(unb64u(part).toString("utf8")));
  } catch {
    bad("JSON");
  }
  if (!names(header, "alg,kid,typ") || header.alg !== "EdDSA" || header.typ !== "JWT") bad("header");
  if (!Object.hasOwn(file.keys, header.kid) || file.revoked.includes(header.kid)) bad("key");
  if (!signatureFits(file.keys[header.kid], unb64u(parts[2]), bytes(`${parts[0]}.${parts[1]}`))) bad("signature");
  if (!names(claims, "acct,aud,exp,iat,jti,sub")) bad("claims");
  const { sub, acct, aud, iat, exp } = claims;
  if (sub !== header.kid || acct !== file.account || aud !== file.origin) bad("for another");
  if (![iat, exp].every(Number.isSafeInteger) || exp <= iat || exp - iat > 300) bad("lifetime");
  if (exp <= file.now || iat > file.now + 120) bad("time");
}

function conditions(file, { text, canonical: told, holds: wanted }) {
  const tree = parseCondition(text);
  same([written(tree), written(parseCondition(told))], [told, told]);
  same(file.delegates.map((tags) => Number(holds(tree, tags))).join(""), wanted);
}

/** A book, its documents, and one step after the other; the last one's outcome is the case's. */
function stories(file, { setup, steps }) {
  const book = new Book(file.account);
  for (const name of setup) {
    same([name, outcomeOf(() => book.admit(file.documents[name], file.now))], [name, "accepted"]);
  }
  for (const step of steps.slice(0, -1)) same([step, outcomeOf(() => take(file, book, step))], [step, step.expect]);
  take(file, book, steps.at(-1));
}

function take(file, book, step) {
  const { now } = step;
  if (step.do === "admit") book.admit(file.documents[step.document], now);
  else if (step.do === "may") book.chain(file.kids[step.who], step.permission, step.scope, step.resource, now, undefined, step.usage);
  else if (step.do === "certificate") {
    checkCertificate(file.documents[step.certificate], book.keyring(step.keyring), book.status?.payload, now);
  } else if (step.do === "task") {
    const { selectors, credentials, conditions } = warrant(book, file.documents[step.task], now);
    same([selectors, credentials, conditions], [step.selectors, step.credentials ?? {}, step.conditions ?? []]);
  }
  else if (step.do === "delegate") isFor(warrant(book, file.documents[step.task], now), step.tags);
  else if (step.do === "takes") {
    const { scopes = [] } = parseAs("certificate", file.documents[step.certificate]).payload;
    same(scopes.length === 0 || step.scopes.every((one) => scopes.some((above) => covers(above, one))), step.takes);
  }
  else if (step.do === "owns") same(book.owned(parseAs("certificate", file.documents[step.certificate]).payload), step.tags);
  else if (step.do === "run") {
    const compact = file.documents[step.order];
    same([runId(digest(compact), step.n), due(parseAs("order", compact).payload, now)], [step.id, step.due]);
    same(runWarrant(book, compact, step.n, now).selectors, step.selectors);
  }
  else throw new Error(`a step of another kind: ${step.do}`);
}

function outcomeOf(act) {
  try {
    act();
    return "accepted";
  } catch (error) {
    if (error instanceof Refusal) return error.outcome;
    throw error;
  }
}

export const CHECKS = {
  aad: aads, accounts: stories, aead: aeads, audit, base64url, canonical, certificates: stories,
  choices: stories, commands: stories, conditions, credentials: stories, documents, fetches: stories, framing,
  grants: stories, groups: stories, hello, inputs, keyring_files: keyringFiles, keyrings, logins: stories, oidc, orders: stories, outcomes, output, padding, records, references, revisions: stories,
  sealed, statuses: stories, streams, tasks: stories, templates: stories, tokens,
  usages: stories,
};
