import { existsSync, globSync, readFileSync, statSync } from "node:fs";
import { join, relative } from "node:path";
import { MillraceError } from "../errors.ts";
import type { Call } from "./command.ts";
import { HttpClient } from "./http-client.ts";

const DEFAULT_URL = "http://127.0.0.1:8080";

/**
 * A client for the platform the caller means: `--url` and `--key`, else MILLRACE_URL and MILLRACE_KEY (or the MILLRACE_ADMIN_KEY that platforms are given), else the local one with the
 * admin key of the data folder in the current folder.
 * @throws PLATFORM_KEY_MISSING, COMMAND_WRONG
 */
export function connect({ flags, terminal }: Call): HttpClient {
  const given = flags.text("url") ?? terminal.env.MILLRACE_URL ?? DEFAULT_URL;
  const url = /^https?:\/\//.test(given) ? given : `http://${given}`;
  if (!URL.canParse(url)) {
    throw new MillraceError("COMMAND_WRONG", {
      reason: `"${given}" is no URL`,
      usage: `Give one like ${DEFAULT_URL}.`,
    });
  }
  const { MILLRACE_KEY, MILLRACE_ADMIN_KEY } = terminal.env;
  const key = flags.text("key") ?? MILLRACE_KEY ?? MILLRACE_ADMIN_KEY ?? localKey(terminal.cwd, url);
  return new HttpClient({ url, key });
}

const LOOPBACK = /^(localhost|127(\.\d+){3}|\[::1\])$/;

function localKey(cwd: string, url: string): string {
  // The local admin key opens local doors; it is never shown to anybody else's.
  const { hostname } = new URL(url);
  if (!LOOPBACK.test(hostname))
    throw new MillraceError("PLATFORM_KEY_MISSING", { url, places: "the local one is for local platforms only" });
  const places = [join(cwd, ".millrace/admin.key"), ...exampleKeys(cwd)];
  const found = places.filter((path) => existsSync(path));
  // Of several examples the one started last is meant.
  found.sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs);
  const path = existsSync(places[0]!) ? places[0] : found[0];
  if (path !== undefined) return readFileSync(path, "utf8").trim();
  throw new MillraceError("PLATFORM_KEY_MISSING", {
    url,
    places: `there is no file ${places.map((place) => relative(cwd, place)).join(" or ")}`,
  });
}

/** In a checkout of Millrace itself, `npm start` runs an example, which keeps its data beside its definitions. */
function exampleKeys(cwd: string): string[] {
  const manifest = join(cwd, "package.json");
  if (!existsSync(manifest)) return [];
  if ((JSON.parse(readFileSync(manifest, "utf8")) as { name?: string }).name !== "millrace") return [];
  return globSync("examples/*/.millrace/admin.key", { cwd }).map((path) => join(cwd, path));
}
