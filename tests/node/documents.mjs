// Signed documents, docs/formats.md section 4: parse, then verify with a key.
import { KINDS } from "./kinds.mjs";
import { b32, bytes, decode, digest, encode, mustFit, refuse, sha256, thumbprint, unb64u } from "./bytes.mjs";

const HEADER = /^\{"alg":"EdDSA","kid":"([0-9A-Za-z_-]{42}[AEIMQUYcgkosw048])","typ":"privyseal-([a-z]+)\+jws"\}$/;

/** {kind, kid, payload, compact, digest, ...}, believed by nobody yet. */
export function parse(compact) {
  if (compact.length > 1048576 || !/^[\0-\x7f]*$/.test(compact)) refuse("malformed", "length or characters");
  const parts = compact.split(".");
  if (parts.length !== 3) refuse("malformed", "parts");
  const header = HEADER.exec(unb64u(parts[0]).toString("latin1"));
  if (!header || !Object.hasOwn(KINDS, header[2])) refuse("malformed", "header");
  const payload = decode(unb64u(parts[1]));
  if (!KINDS[header[2]](payload)) refuse("malformed", `the ${header[2]} payload`);
  const signature = unb64u(parts[2], 64);
  const signed = bytes(compact.slice(0, compact.lastIndexOf(".")));
  return { kind: header[2], kid: header[1], payload, compact, signed, signature, digest: digest(compact) };
}

/** The document, if `key` (base64url) signed it. */
export function verified(document, key) {
  if (thumbprint(key) !== document.kid) refuse("tampered", "another key than kid names");
  mustFit(key, document.signature, document.signed);
  return document;
}

export function parseAs(kind, compact) {
  const document = parse(compact);
  if (document.kind !== kind) refuse("malformed", `a ${kind} is expected`);
  return document;
}

/** Section 6. */
export const accountId = (payload) => b32(sha256(encode({ ...payload, acct: "" })));
