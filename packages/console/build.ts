/**
 * Builds the console where it was not built yet, or anew: `node packages/console/build.ts [--out DIR]`. It runs behind every `npm ci`. An install without
 * the packages of development (as of a package from a registry, which has its console already) has nothing to build with, and needs nothing.
 */
import { parseArgs } from "node:util";

const { values } = parseArgs({ options: { out: { type: "string" } } });
const vite = await import("vite").catch((error: NodeJS.ErrnoException) => {
  if (error.code !== "ERR_MODULE_NOT_FOUND") throw error;
  return undefined;
});
if (vite !== undefined) {
  await vite.build({
    configFile: `${import.meta.dirname}/vite.config.ts`,
    logLevel: "warn",
    ...(values.out !== undefined && { build: { outDir: `${process.cwd()}/${values.out}` } }),
  });
}
