/**
 * What functions with state were when their state was written, so that a definition which it no longer fits is refused before anything is lost:
 *
 *     DIR/react/functions.json, or _react/functions.json in the store that processes share
 *
 *     {"format": 1, "functions": {"<name>": {"stream", "key", "features", "version", "state": JSON Schema | null}}}
 *
 * A function keeps its state when it moves on to a schema that takes all the old one took: the same with further fields that may be missing. Any other change of
 * key, stream or schema needs a higher `version`, with which it begins with empty state where it was.
 */
import { join } from "node:path";
import type { StreamFunction } from "../define/read-function.ts";
import { MillraceError } from "../errors.ts";
import type { FileSystem } from "../lake/file-system.ts";
import type { ObjectStore } from "../lake/object-store.ts";

interface Known {
  readonly stream: string;
  readonly key: string | undefined;
  /** True where it shares the lane of the features that it reads. */
  readonly features: boolean;
  readonly version: number;
  readonly state: Schema | null;
}

type Schema = Readonly<Record<string, unknown>>;

/** Where that is written down. */
export interface KnownFunctions {
  /** Undefined when nothing was written yet. */
  read(): Promise<string | undefined>;
  /** Resolves when it is durable. */
  write(text: string): Promise<void>;
}

/** @throws FUNCTION_CHANGED. Resolves to what makes the definitions of now the known ones, for when they have been taken up. */
export async function checkFunctionVersions(
  place: KnownFunctions,
  functions: ReadonlyMap<string, StreamFunction>,
): Promise<() => Promise<void>> {
  const text = await place.read();
  const known =
    text === undefined ? {} : (JSON.parse(text) as { functions: Readonly<Record<string, Known>> }).functions;
  const now: Record<string, Known> = { ...known };
  for (const { name, stream, key, version, state, features } of functions.values()) {
    const before = known[name];
    const after: Known = { stream, key, features: features.length > 0, version, state: state?.jsonSchema ?? null };
    const reason = before && before.version >= version ? misfit(before, after) : undefined;
    if (before && reason !== undefined)
      throw new MillraceError("FUNCTION_CHANGED", { function: name, reason, version: before.version + 1 });
    now[name] = after;
  }
  const told = JSON.stringify({ format: 1, functions: now });
  return async () => {
    if (told !== text) await place.write(told);
  };
}

/** In a folder of this machine, created when missing. */
export function functionsFile(dir: string, fs: FileSystem): KnownFunctions {
  const path = join(dir, "functions.json");
  return {
    read: () => readText(path, fs),
    async write(text) {
      await fs.makeDirectory(dir);
      const unfinished = `${path}.unfinished`;
      await fs.unlink(unfinished).catch((error: unknown) => {
        if (!isMissing(error)) throw error;
      });
      await fs.writeNew(unfinished, Buffer.from(text, "utf8"));
      await fs.rename(unfinished, path);
      await fs.syncDirectory(dir);
    },
  };
}

/** In the store that processes share. */
export function functionsObject(store: Pick<ObjectStore, "get" | "put">): KnownFunctions {
  const key = "_react/functions.json";
  return {
    async read() {
      try {
        return Buffer.from(await store.get(key)).toString("utf8");
      } catch (error) {
        if (error instanceof MillraceError && error.code === "OBJECT_NOT_FOUND") return undefined;
        throw error;
      }
    },
    write: (text) => store.put(key, Buffer.from(text, "utf8")),
  };
}

/** Why state of `before` is none of `after`; undefined when it is. */
function misfit(before: Known, after: Known): string | undefined {
  if (after.version < before.version) return `its version went back from ${before.version} to ${after.version}`;
  if (before.state === null) return undefined;
  if (after.state === null) return "it has no state any more";
  if (before.stream !== after.stream) return `it was on "${before.stream}" and is on "${after.stream}"`;
  if (before.key !== after.key) return `its key was "${before.key}" and is "${after.key}"`;
  if (before.features !== after.features)
    return `it ${after.features ? "reads features" : "reads features no more"}, and its state is kept elsewhere then`;
  return schemaMisfit(before.state, after.state, "the state");
}

function schemaMisfit(before: unknown, after: unknown, place: string): string | undefined {
  if (same(before, after)) return undefined;
  if (!isObject(before) || !isObject(after)) return `${place} was ${show(before)} and is ${show(after)}`;
  const { properties: oldFields, required: oldRequired = [], additionalProperties: _, ...oldRest } = before;
  const { properties: newFields, required: newRequired = [], additionalProperties: __, ...newRest } = after;
  if (!isObject(oldFields) || !isObject(newFields) || !same(oldRest, newRest))
    return `${place} was ${show(before)} and is ${show(after)}`;
  const gone = Object.keys(oldFields).find((field) => !(field in newFields));
  if (gone !== undefined) return `${place} has no "${gone}" any more`;
  const demanded = (newRequired as string[]).find((field) => !(oldRequired as string[]).includes(field));
  if (demanded !== undefined) return `${place} must have "${demanded}", which stored state may lack`;
  for (const [field, schema] of Object.entries(oldFields)) {
    const inner = schemaMisfit(schema, newFields[field], `"${field}" of ${place}`);
    if (inner !== undefined) return inner;
  }
  return undefined;
}

function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function isObject(value: unknown): value is Schema {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

async function readText(path: string, fs: FileSystem): Promise<string | undefined> {
  try {
    return Buffer.from(await fs.readFile(path)).toString("utf8");
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === "ENOENT";
}
