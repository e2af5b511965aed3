// A checkout runs its sources, the published package what was built of them, for Node strips no types below node_modules.
// `npm pack` and `npm publish` call this before (published) and after (checkout); only `exports` differs.
import { readFileSync, writeFileSync } from "node:fs";

const EXPORTS = {
  checkout: { ".": "./src/index.ts" },
  published: { ".": { types: "./dist/index.d.ts", default: "./dist/index.js" } },
};

const exports = EXPORTS[process.argv[2]];
if (exports === undefined) throw new Error(`name one of: ${Object.keys(EXPORTS).join(", ")}`);
const path = new URL("../package.json", import.meta.url);
const manifest = JSON.parse(readFileSync(path, "utf8"));
writeFileSync(path, `${JSON.stringify({ ...manifest, exports }, null, 2)}\n`);
