import { homedir } from "node:os";
import { join } from "node:path";

/**
 * Where the engines live, outside of every checkout:
 *
 *     packages/<name>-<version>/     what the registries gave; made beside itself and renamed when whole; `down` keeps it
 *     run/engines.json               addresses, credentials and certificates (endpoints.ts); mode 0600
 *     run/<engine>/…                 a server's settings, data, log and process; `down` removes it
 *     run.lock                       the process that starts or stops engines now
 */
export function cacheFolder(): string {
  const { XDG_CACHE_HOME } = process.env;
  return join(XDG_CACHE_HOME || join(homedir(), ".cache"), "millrace-engines");
}

export function packagesFolder(): string {
  return join(cacheFolder(), "packages");
}

export function runFolder(...below: string[]): string {
  return join(cacheFolder(), "run", ...below);
}
