// Holds every vector in tests/vectors against this second implementation of docs/formats.md. The last line counts; the
// exit status is 1 where one differs.
import { readFileSync, readdirSync } from "node:fs";
import { CHECKS } from "./checks.mjs";
import { Refusal } from "./bytes.mjs";

const vectors = new URL("../vectors/", import.meta.url);
const names = readdirSync(vectors).filter((name) => name.endsWith(".json")).map((name) => name.slice(0, -5));
let passed = 0, failed = 0;

function fail(what, why) {
  failed += 1;
  console.error(`${what}: ${why}`);
}

for (const name of Object.keys(CHECKS).filter((one) => !names.includes(one))) fail(name, "there are no vectors");
for (const name of names) {
  if (!CHECKS[name]) {
    fail(name, "nothing checks these vectors");
    continue;
  }
  const file = JSON.parse(readFileSync(new URL(`${name}.json`, vectors), "utf8"));
  for (const one of file.cases) {
    let outcome = "accepted";
    try {
      await CHECKS[name](file, one);
    } catch (error) {
      outcome = error instanceof Refusal ? error.outcome : `an error: ${error.message}`;
    }
    if (outcome === one.expect) passed += 1;
    else fail(`${name}: ${one.name}`, `${one.expect} is expected, not ${outcome}`);
  }
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed || !passed ? 1 : 0;
