// Sealing and encryption, docs/formats.md sections 12 to 16.
import { createDecipheriv, createHash, createHmac, createPrivateKey, createPublicKey, hkdfSync, timingSafeEqual } from "node:crypto";
import { Aes256Gcm, CipherSuite, HkdfSha256 } from "@hpke/core";
import { XWing } from "@hpke/hybridkem-x-wing";
import { isAccount, isIdentifier } from "./kinds.mjs";
import { Reader, Refusal, decode, encode, hex, isObject, lp, refuse, uint32, uint64, unb64u } from "./bytes.mjs";

const suite = new CipherSuite({ kem: new XWing(), kdf: new HkdfSha256(), aead: new Aes256Gcm() });
const tight = (data) => Uint8Array.from(data);

export const aad = (label, place) =>
  lp(label, place.purpose, place.account, place.keyring, place.scope, place.secret, uint64(place.n), place.version, place.connector);

export function padded(value) {
  const length = 4 + value.length;
  const prefix = Buffer.alloc(4);
  prefix.writeUInt32BE(value.length);
  return Buffer.concat([prefix, value, Buffer.alloc((256 - (length % 256)) % 256)]);
}

export function unpadded(data) {
  const reader = new Reader(data);
  const value = reader.field();
  if (!padded(value).equals(data)) refuse("malformed", "padding");
  return value;
}

/** The sealing key that a seed of 32 bytes makes: {privateKey, publicKey}, and the raw public form. */
export async function sealingKey(seed) {
  const pair = await suite.kem.generateKeyPairDerand(tight(seed));
  const raw = Buffer.from(await suite.kem.serializePublicKey(pair.publicKey));
  // The X25519 half, by Node's own primitives: bytes 64 to 96 of SHAKE256(seed).
  const classic = createHash("shake256", { outputLength: 96 }).update(seed).digest().subarray(64);
  if (!x25519Public(classic).equals(raw.subarray(1184))) throw new Error("the X25519 half is another one");
  return { ...pair, raw };
}

function x25519Public(secret) {
  const der = Buffer.concat([hex("302e020100300506032b656e04220420"), secret]);
  return Buffer.from(createPublicKey(createPrivateKey({ key: der, format: "der", type: "pkcs8" })).export({ format: "jwk" }).x, "base64url");
}

export async function seal(raw, info, padded_) {
  const recipientPublicKey = await suite.kem.deserializePublicKey(tight(raw));
  const sender = await suite.createSenderContext({ recipientPublicKey, info: tight(info) });
  return Buffer.concat([hex("01"), Buffer.from(sender.enc), Buffer.from(await sender.seal(tight(padded_)))]);
}

export async function open(seed, info, sealed) {
  try {
    if (sealed[0] !== 1 || sealed.length < 1 + 1120 + 16) refuse("opening_failed", "form");
    const { privateKey } = await sealingKey(seed);
    const enc = tight(sealed.subarray(1, 1121));
    const recipient = await suite.createRecipientContext({ recipientKey: privateKey, enc, info: tight(info) });
    return unpadded(Buffer.from(await recipient.open(tight(sealed.subarray(1121)))));
  } catch {
    refuse("opening_failed", "no reason is given");
  }
}

export const hkdf512 = (key, salt, info, length) => Buffer.from(hkdfSync("sha512", key, salt, info, length));

export function decrypt(key, ciphertext, place) {
  if (ciphertext.length < 80) refuse("decryption_failed", "form");
  const both = hkdf512(key, ciphertext.subarray(0, 32), place, 64);
  if (!timingSafeEqual(both.subarray(32), ciphertext.subarray(32, 64))) refuse("decryption_failed", "commitment");
  const cipher = createDecipheriv("aes-256-gcm", both.subarray(0, 32), Buffer.alloc(12));
  cipher.setAAD(place);
  cipher.setAuthTag(ciphertext.subarray(-16));
  try {
    return Buffer.concat([cipher.update(ciphertext.subarray(64, -16)), cipher.final()]);
  } catch {
    refuse("decryption_failed", "tag");
  }
}

/** The value of a record of `Local` at a place; `generations` hold {kek, mac_key} by number. */
export function openRecord(raw, place, keyring, generations) {
  const reader = new Reader(raw);
  if (reader.take(1)[0] !== 1) refuse("malformed", "version");
  const name = reader.field(2048), wrapped = reader.field(65536);
  const generation = reader.take(4).readUInt32BE();
  const ciphertext = reader.field();
  const body = raw.subarray(0, reader.at);
  const mac = reader.take(32);
  reader.end();
  if (name.some((byte) => byte > 127)) refuse("malformed", "key name");
  const keys = generations[generation] ?? refuse("tampered", "generation");
  const label = "privyseal/v1/mac-record";
  const expected = createHmac("sha256", keys.mac_key).update(lp(label, aad(label, place), body)).digest();
  if (!timingSafeEqual(mac, expected)) refuse("tampered", "HMAC");
  const number = Object.keys(generations).find((one) => name.toString("ascii") === `local/${keyring}/${one}`);
  if (number === undefined) refuse("denied", "key name");
  const key = decrypt(generations[number].kek, wrapped, aad("privyseal/v1/wrap", place));
  const whole = decrypt(key, ciphertext, aad("privyseal/v1/record", place));
  try {
    return unpadded(whole);
  } catch {
    refuse("decryption_failed", "padding");
  }
}

const characters = (longest) => (value) => typeof value === "string" && [...value].length <= longest;
const REFERENCE = {
  generation: (value) => Number.isSafeInteger(value) && value >= 1 && value < 2 ** 32,
  locator: characters(4096),
  mac: (value) => typeof value === "string" && /^[0-9A-Za-z_-]{42}[AEIMQUYcgkosw048]$/.test(value),
  metadata: (value) => isObject(value) && Object.keys(value).length > 0 &&
    Object.entries(value).every(([name, text]) => /^[!-~]{1,128}$/.test(name) && characters(256)(text)),
  version: (value) => value !== "" && characters(512)(value),
};

/** A reference at a place, its defaults filled in; `generations` hold {mac_key} by number. */
export function openReference(raw, place, generations) {
  if (raw[0] !== 2) refuse("malformed", "version");
  const given = decode(raw.subarray(1));
  if (!isObject(given) || Object.entries(given).some(([name, value]) => !Object.hasOwn(REFERENCE, name) || !REFERENCE[name](value)) ||
      ["generation", "locator", "mac"].some((name) => !Object.hasOwn(given, name))) refuse("malformed", "reference");
  const { generation, locator, mac, metadata = {}, version = "" } = given;
  const keys = generations[generation] ?? refuse("tampered", "generation");
  const label = "privyseal/v1/mac-reference";
  const message = lp(label, aad(label, place), locator, encode(metadata), version, uint32(generation));
  const expected = createHmac("sha256", keys.mac_key).update(message).digest();
  if (!timingSafeEqual(unb64u(mac, 32), expected)) refuse("tampered", "HMAC");
  return { generation, locator, mac, metadata, version };
}

/** 32 bytes for a label from a generation's seed (section 15). */
export const derived = (seed, label, account, keyring, generation) =>
  hkdf512(seed, Buffer.alloc(0), lp(label, account, keyring, uint64(generation)), 32);

export function ed25519Public(seed) {
  const der = Buffer.concat([hex("302e020100300506032b657004220420"), seed]);
  return createPublicKey(createPrivateKey({ key: der, format: "der", type: "pkcs8" })).export({ format: "jwk" }).x;
}

/** The generations' numbers of a keyring file, and the moduli of those that have a key for ID tokens. */
export function keyringFile(text) {
  let file;
  try {
    file = JSON.parse(text);
  } catch {
    refuse("malformed", "JSON");
  }
  const only = (value, names) => isObject(value) && Object.keys(value).sort().join() === names;
  if (!only(file, "account,generations,keyring,privyseal,v") || file.privyseal !== "keyring" || file.v !== 1 ||
      !isAccount(file.account) || !isIdentifier(file.keyring) || !Array.isArray(file.generations) ||
      file.generations.length < 1 || file.generations.length > 64) refuse("malformed", "keyring file");
  let before = 0;
  const oidc = {};
  const generations = file.generations.map((one) => {
    if (!(only(one, "generation,seed") || only(one, "generation,oidc,seed")) || !Number.isSafeInteger(one.generation) || one.generation <= before || one.generation >= 2 ** 32 ||
        typeof one.seed !== "string") refuse("malformed", "generation");
    unb64u(one.seed, 32);
    if (Object.hasOwn(one, "oidc")) oidc[one.generation] = modulus(one.oidc);
    return (before = one.generation);
  });
  return { generations, oidc };
}

/** The modulus of an RSA-3072 key in PKCS#8 PEM. */
function modulus(pem) {
  let key;
  try {
    key = createPrivateKey(pem);
  } catch {
    refuse("malformed", "PEM");
  }
  const { modulusLength, publicExponent } = key.asymmetricKeyDetails;
  if (typeof pem !== "string" || key.asymmetricKeyType !== "rsa" || modulusLength !== 3072 || publicExponent !== 65537n ||
      key.export({ format: "pem", type: "pkcs8" }) !== pem) refuse("malformed", "another form of key");
  return key.export({ format: "jwk" }).n;
}

/** The items of an output: {value} or {problem}. */
export function unpackOutput(raw) {
  const reader = new Reader(raw), items = [];
  while (reader.left) {
    const kind = reader.take(1)[0], data = reader.field();
    if (kind === 0) items.push({ value: data });
    else if (kind === 1) items.push({ problem: problem(data) });
    else refuse("malformed", "kind of item");
  }
  return items;
}

function problem(data) {
  try {
    const value = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data));
    if (isObject(value)) return value;
  } catch (error) {
    if (error instanceof Refusal) throw error;
  }
  return refuse("malformed", "problem");
}

/** What a command wrote: {written: [stream, data]..., over} of chunks under a key (section 22). */
export function openStream(key, task, chunks) {
  const written = [];
  let over = false;
  chunks.forEach((chunk, at) => {
    const last = chunk.length === 17, index = at + 1;
    const place = lp("privyseal/v1/output", task, uint64(index), Buffer.from([last]));
    const plaintext = streamChunk(key, index, place, chunk);
    const [stream] = plaintext;
    if (over || (last ? stream !== 0 : ![1, 2].includes(stream) || plaintext.length < 2 || plaintext.length > 1 + 16384)) {
      refuse("opening_failed", "form");
    }
    if (last) over = true;
    else written.push([stream, plaintext.subarray(1)]);
  });
  return { written, over };
}

function streamChunk(key, index, place, chunk) {
  try {
    const nonce = Buffer.concat([Buffer.alloc(4), uint64(index)]);
    const decipher = createDecipheriv("aes-256-gcm", key, nonce, { authTagLength: 16 });
    decipher.setAAD(place).setAuthTag(chunk.subarray(-16));
    return Buffer.concat([decipher.update(chunk.subarray(0, -16)), decipher.final()]);
  } catch {
    refuse("opening_failed", "no reason is given");
  }
}
