import { existsSync, globSync } from "node:fs";
import { registerHooks } from "node:module";
import { isAbsolute, join, relative, sep } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { type Definition, definitionKind } from "./definition.ts";
import { type ProjectProblem, problem } from "./problem.ts";

export const CONFIG_FILE = "millrace.config.ts";

/** Not definitions: what tools put there, declarations, and tests. */
const EXCLUDED = [
  "**/node_modules/**",
  "**/.*/**",
  "**/*.d.ts",
  "**/*.test.ts",
  "**/*.spec.ts",
  "**/test/**",
  "**/tests/**",
];

/** A definition and where it stands. */
export interface Found {
  readonly definition: Definition;
  readonly file: string;
  readonly line: number | undefined;
}

/** The values a module exports, or why it does not load. */
export type Loaded = { readonly exports: Readonly<Record<string, unknown>> } | { readonly problem: ProjectProblem };

/** The project's modules but for its configuration, relative to its folder, in the order of their names. */
export function findModules(dir: string, patterns: readonly string[]): string[] {
  const files = globSync([...patterns], { cwd: dir, exclude: EXCLUDED });
  return [...new Set(files.map((file) => file.split(sep).join("/")))].filter((file) => file !== CONFIG_FILE).sort();
}

/** Imports a module of the project. Modules are loaded once per process, so changes need a new one. */
export async function loadModule(dir: string, file: string): Promise<Loaded> {
  resolveOwnPackage(dir);
  try {
    const exports = (await import(pathToFileURL(join(dir, file)).href)) as Record<string, unknown>;
    return { exports };
  } catch (error) {
    const place = placeIn(dir, error);
    const message = error instanceof Error ? error.message : `it throws ${String(error)}`;
    const reason = message.replaceAll(`${dir}${sep}`, "");
    const at =
      place === undefined ? "" : ` (line ${place.line}${place.column === undefined ? "" : `, column ${place.column}`})`;
    const found = problem("MODULE_FAILED", { reason, place: at });
    return {
      problem: { ...found, file: place?.file ?? file, ...(place === undefined ? {} : { line: place.line }), name: "" },
    };
  }
}

/** The definitions among a module's exports, those within exported lists as well. One without a name of its own has that of its export. */
export function definitionsOf(dir: string, file: string, exports: Readonly<Record<string, unknown>>): Found[] {
  return Object.entries(exports)
    .flatMap(([name, value]): { name?: string; value: unknown }[] =>
      Array.isArray(value) ? (value as unknown[]).map((one) => ({ value: one })) : [{ name, value }],
    )
    .filter((one): one is { name?: string; value: Definition } => definitionKind(one.value) !== undefined)
    .map(({ name, value }) => {
      const definition = named(value, name);
      const place = definition.place && { file: within(dir, definition.place.file), line: definition.place.line };
      // A definition made by a function of another package is best found where it is exported.
      return { definition, file: place?.file ?? file, line: place?.file === undefined ? undefined : place.line };
    });
}

/** Definitions by what was written without a name: one that two modules export is one. */
const namedByExport = new WeakMap<Definition, Definition>();

function named(definition: Definition, exportedAs: string | undefined): Definition {
  if (definition.name !== "" || exportedAs === undefined || exportedAs === "default") return definition;
  const known = namedByExport.get(definition) ?? Object.freeze({ ...definition, name: exportedAs });
  namedByExport.set(definition, known);
  return known;
}

const projectUrls = new Set<string>();
let registered = false;

/**
 * Makes `import … from "millrace"` in the project mean this running package, so that a project needs no installation of its own and never
 * meets a second copy. Files of the project are ES modules whatever the nearest package.json says.
 */
export function resolveOwnPackage(dir: string): void {
  const url = `${pathToFileURL(dir).href}/`;
  projectUrls.add(url);
  if (registered) return;
  registered = true;
  const own = import.meta.resolve("millrace");
  registerHooks({
    resolve(specifier, context, next) {
      if (specifier === "millrace") return { url: own, shortCircuit: true };
      const resolved = next(specifier, context);
      const ours = resolved.url.endsWith(".ts") && !resolved.url.includes("/node_modules/");
      if (!ours || ![...projectUrls].some((prefix) => resolved.url.startsWith(prefix))) return resolved;
      return { ...resolved, format: "module-typescript" };
    },
  });
}

/** The first place of an error's stack that is a file of the project. */
function placeIn(dir: string, error: unknown): { file: string; line: number; column?: number } | undefined {
  const stack = error instanceof Error ? (error.stack ?? "") : "";
  for (const [, path, line, column] of stack.matchAll(/((?:file:\/\/)?\/[^\s():]+):(\d+)(?::(\d+))?/g)) {
    const file = within(dir, path!);
    if (file !== undefined)
      return { file, line: Number(line), ...(column === undefined ? {} : { column: Number(column) }) };
  }
  return undefined;
}

function within(dir: string, place: string): string | undefined {
  const path = place.startsWith("file:") ? fileURLToPath(place) : place;
  const inside = relative(dir, path);
  const foreign = inside.startsWith("..") || isAbsolute(inside) || inside.split(sep).includes("node_modules");
  return foreign || !existsSync(path) ? undefined : inside.split(sep).join("/");
}
