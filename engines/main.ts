/**
 * Starts and stops the servers that tests under test/engines/ and the benchmarks need.
 *
 *     npm run engines:up [-- NAME …]     kafka, s3, postgres, spark; all when none is named
 *     npm run engines:down [-- NAME …]   ends them and removes their data
 *     npm run engines:status             what runs, and where
 */
import { mkdir, rm } from "node:fs/promises";
import { cacheFolder } from "./cache.ts";
import { ENGINE_NAMES, type Endpoints, type EngineName, endpointsFile, readEndpoints } from "./endpoints.ts";
import { EngineError, FetchError, NOT_FETCHED } from "./engine-error.ts";
import { kafkaDown, kafkaProcesses, kafkaUp } from "./kafka.ts";
import { postgresDown, postgresProcesses, postgresUp } from "./postgres.ts";
import { holdRunLock } from "./run-lock.ts";
import { s3Down, s3Processes, s3Up } from "./s3.ts";
import { writeWhole } from "./server-process.ts";
import { sparkDown, sparkProcesses, sparkUp } from "./spark.ts";

interface Engine<Name extends EngineName> {
  /** Starts what does not run of it. Idempotent: what runs is left alone. `all` is what is up already. */
  up(before: Endpoints[Name], all: Endpoints): Promise<NonNullable<Endpoints[Name]>>;
  /** Ends its processes and removes their data. */
  down(): Promise<void>;
  processes(): Promise<{ name: string; pid: number | undefined }[]>;
}

const ENGINES: { readonly [Name in EngineName]: Engine<Name> } = {
  kafka: { up: kafkaUp, down: kafkaDown, processes: kafkaProcesses },
  s3: { up: s3Up, down: s3Down, processes: s3Processes },
  postgres: { up: postgresUp, down: postgresDown, processes: postgresProcesses },
  spark: { up: (before, { s3 }) => sparkUp(before, s3!), down: sparkDown, processes: sparkProcesses },
};

async function main(verb: string | undefined, names: readonly string[]): Promise<void> {
  const wanted = withNeeded(verb, names.length === 0 ? ENGINE_NAMES : names.map(nameOf));
  await mkdir(cacheFolder(), { recursive: true, mode: 0o711 });
  if (verb === "status") return status();
  if (verb !== "up" && verb !== "down") {
    throw new EngineError(`"${verb ?? ""}" is nothing to do`, { next: "one of up, down, status" });
  }
  const release = await holdRunLock();
  try {
    for (const name of wanted) {
      if (verb === "up") await up(name);
      else await down(name);
    }
  } finally {
    await release();
  }
  if (verb === "up") await status();
}

/** Spark is told where S3 is when it starts: it wants it first, and ends with it. */
function withNeeded(verb: string | undefined, names: readonly EngineName[]): readonly EngineName[] {
  const wanted = new Set(names);
  if (verb === "up" && wanted.has("spark")) wanted.add("s3");
  if (verb === "down" && wanted.has("s3")) wanted.add("spark");
  return ENGINE_NAMES.filter((name) => wanted.has(name));
}

async function up<Name extends EngineName>(name: Name): Promise<void> {
  const engine = ENGINES[name] as Engine<Name>;
  const started = performance.now();
  const before = await readEndpoints();
  const endpoint = await engine.up(before[name], before);
  await writeEndpoints({ ...before, [name]: endpoint });
  console.log(`${name} is up (${((performance.now() - started) / 1000).toFixed(1)} s)`);
}

async function down(name: EngineName): Promise<void> {
  await ENGINES[name].down();
  const { [name]: _, ...others } = await readEndpoints();
  await writeEndpoints(others);
}

async function writeEndpoints(endpoints: Endpoints): Promise<void> {
  if (Object.keys(endpoints).length === 0) await rm(endpointsFile(), { force: true });
  else await writeWhole(endpointsFile(), `${JSON.stringify(endpoints, undefined, 2)}\n`);
}

async function status(): Promise<void> {
  const endpoints = await readEndpoints();
  for (const name of ENGINE_NAMES) {
    if (endpoints[name] === undefined) {
      console.log(`${name}: not up`);
      continue;
    }
    for (const { name: server, pid } of await ENGINES[name].processes()) {
      console.log(`${server}: ${pid === undefined ? "does not run (up again starts it)" : `runs, process ${pid}`}`);
    }
  }
  if (Object.keys(endpoints).length > 0) console.log(`addresses and credentials: ${endpointsFile()}`);
}

function nameOf(text: string): EngineName {
  const name = ENGINE_NAMES.find((name) => name === text);
  if (name !== undefined) return name;
  throw new EngineError(`"${text}" is no engine`, { next: `one of ${ENGINE_NAMES.join(", ")}` });
}

try {
  await main(process.argv[2], process.argv.slice(3));
} catch (error) {
  if (!(error instanceof EngineError || error instanceof FetchError)) throw error;
  console.error(error.message);
  process.exitCode = error instanceof FetchError ? NOT_FETCHED : 1;
}
