// Seals what tests/vectors/kept/requests.json asks for, once: the results are random, kept, and opened ever after by
// Python and by Node. Run again only after `python -m tests.vectors.generate --seal` changed the requests.
import { readFileSync, writeFileSync } from "node:fs";
import { b64u, hex, unb64u } from "./bytes.mjs";
import { seal } from "./sealing.mjs";

const kept = new URL("../vectors/kept/", import.meta.url);
const made = {};
for (const request of JSON.parse(readFileSync(new URL("requests.json", kept), "utf8"))) {
  made[request.name] = b64u(await seal(unb64u(request.public), hex(request.info), hex(request.padded)));
}
writeFileSync(new URL("node.json", kept), JSON.stringify(made, null, 1) + "\n");
console.log(`${Object.keys(made).length} values sealed`);
