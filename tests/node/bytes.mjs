// Byte forms of docs/formats.md, sections 2 and 3: base64url, base32, LP, canonical JSON, digests, Ed25519.
import { createHash, createPublicKey, verify } from "node:crypto";

/** An input is refused; `outcome` is one of section 1. */
export class Refusal extends Error {
  constructor(outcome, why) {
    super(`${outcome}: ${why}`);
    this.outcome = outcome;
  }
}

export function refuse(outcome, why) {
  throw new Refusal(outcome, why);
}

export const bytes = (text) => Buffer.from(text, "utf8");
export const hex = (text) => Buffer.from(text, "hex");
export const sha256 = (data) => createHash("sha256").update(data).digest();
export const b64u = (data) => Buffer.from(data).toString("base64url");

export function unb64u(text, length) {
  const data = Buffer.from(text, "base64url");
  // Node reads leniently; only the one form comes back as it was.
  if (b64u(data) !== text || (length !== undefined && data.length !== length)) refuse("malformed", "base64url");
  return data;
}

export function b32(data) {
  let out = "", value = 0, bits = 0;
  for (const byte of data) {
    value = (value << 8) | byte;
    for (bits += 8; bits >= 5; bits -= 5) out += "abcdefghijklmnopqrstuvwxyz234567"[(value >>> (bits - 5)) & 31];
    value &= 255;
  }
  return bits ? out + "abcdefghijklmnopqrstuvwxyz234567"[(value << (5 - bits)) & 31] : out;
}

export function uint32(value) {
  const out = Buffer.alloc(4);
  out.writeUInt32BE(value);
  return out;
}

export function uint64(value) {
  const out = Buffer.alloc(8);
  out.writeBigUInt64BE(BigInt(value));
  return out;
}

export const lp = (...parts) =>
  Buffer.concat(parts.flatMap((part) => [uint32(Buffer.from(part).length), Buffer.from(part)]));

/** Reads fields from the front; `end` insists that nothing is left. */
export class Reader {
  constructor(data, outcome = "malformed") {
    this.data = data;
    this.at = 0;
    this.outcome = outcome;
  }
  take(length) {
    if (this.at + length > this.data.length) refuse(this.outcome, "cut off");
    const part = this.data.subarray(this.at, this.at + length);
    this.at += length;
    return part;
  }
  field(longest = Infinity) {
    const length = this.take(4).readUInt32BE();
    if (length > longest) refuse(this.outcome, "too long");
    return this.take(length);
  }
  get left() {
    return this.data.length - this.at;
  }
  end() {
    if (this.left) refuse(this.outcome, "bytes left over");
  }
}

export const digest = (compact) => b64u(sha256(Buffer.from(compact, "ascii")));
export const thumbprint = (key) => b64u(sha256(`{"crv":"Ed25519","kty":"OKP","x":"${key}"}`));

/** The y coordinates of small order, in every encoding, without the sign bit. */
const SMALL_ORDER = new Set([
  "00".repeat(32),
  "01" + "00".repeat(31),
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
  "ec" + "ff".repeat(30) + "7f",
  "ed" + "ff".repeat(30) + "7f",
  "ee" + "ff".repeat(30) + "7f",
]);

export function signatureFits(key, signature, message) {
  const point = Buffer.from(key, "base64url");
  point[31] &= 0x7f;
  if (SMALL_ORDER.has(point.toString("hex"))) refuse("malformed", "key_weak");
  const publicKey = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: key }, format: "jwk" });
  return signature.length === 64 && verify(null, message, publicKey, signature);
}

export function mustFit(key, signature, message) {
  if (!signatureFits(key, signature, message)) refuse("tampered", "signature");
}

/** Canonical JSON of a value that JSON.parse gave (section 3). */
export function encode(value) {
  if (Array.isArray(value)) return `[${value.map(encode).join(",")}]`;
  if (value !== null && typeof value === "object") {
    const names = Object.keys(value).sort();
    return `{${names.map((name) => `${JSON.stringify(name)}:${encode(value[name])}`).join(",")}}`;
  }
  if (typeof value === "number" && !Number.isSafeInteger(value)) refuse("malformed", "a number that is no safe integer");
  if (typeof value === "string" && !value.isWellFormed()) refuse("malformed", "a lone surrogate");
  return JSON.stringify(value);
}

/** The value of canonical JSON: what was parsed, written again, must give the same bytes. */
export function decode(data) {
  let value;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data));
  } catch {
    refuse("malformed", "JSON");
  }
  if (!bytes(encode(value)).equals(Buffer.from(data))) refuse("malformed", "not in canonical form");
  return value;
}

export const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
