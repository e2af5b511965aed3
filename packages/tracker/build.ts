/**
 * Builds what is published, into `dist/`: `node packages/tracker/build.ts`, which `npm pack` calls by itself.
 *
 * esbuild bundles and minifies, for the TypeScript compiler does neither and a page must not load ten files; the types come from tsc.
 */
import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { type BuildOptions, build } from "esbuild";

const HERE = import.meta.dirname;

/** The bundle of a browser, as published: one ES module. */
export async function browserBundle(): Promise<string> {
  const { outputFiles } = await build({ ...BROWSER, write: false });
  return outputFiles![0]!.text;
}

const COMMON: BuildOptions = { bundle: true, format: "esm", legalComments: "none" };
const BROWSER: BuildOptions = {
  ...COMMON,
  entryPoints: [join(HERE, "src/browser.ts")],
  minify: true,
  target: "es2022",
};
const NODE: BuildOptions = {
  ...COMMON,
  entryPoints: [join(HERE, "src/node.ts")],
  platform: "node",
  target: "node20",
};

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  rmSync(join(HERE, "dist"), { recursive: true, force: true });
  await build({ ...BROWSER, outfile: join(HERE, "dist/browser.js") });
  await build({ ...NODE, outfile: join(HERE, "dist/node.js") });
  const tsc = join(HERE, "../../node_modules/.bin/tsc");
  execFileSync(tsc, ["-p", join(HERE, "tsconfig.build.json")], { stdio: "inherit" });
}
