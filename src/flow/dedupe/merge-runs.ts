import { setImmediate } from "node:timers/promises";
import type { IndexFiles } from "./index-files.ts";
import { arrivalOf, compareRecords, RECORD_WORDS } from "./records.ts";
import { asDamage, type Run, RunWriter } from "./run-file.ts";

/**
 * Merges runs into one new run at `path`, without records that arrived before `keepFromMs`; undefined when none is left.
 * Works in slices of a few milliseconds so that look-ups come in between, and ends early, with no file, when `stop` aborts.
 * @throws DamagedRun when an input is not as it was written
 */
export async function mergeRuns(
  files: IndexFiles,
  runs: readonly Run[],
  path: string,
  keepFromMs: number,
  stop: AbortSignal,
): Promise<Run | undefined> {
  const sources: Source[] = [];
  const capacity = runs.reduce((sum, run) => sum + run.count, 0);
  const writer = new RunWriter(files, path, capacity);
  let finished = false;
  try {
    for (const run of runs) sources.push(new Source(files, run));
    for (const source of sources) source.next();
    const heads = Float64Array.from(sources, (source) => source.head);
    while (!stop.aborted) {
      if (mergeSlice(sources, heads, writer, keepFromMs)) {
        if (writer.count === 0) return undefined;
        const run = await writer.finish(Math.max(...runs.map(({ lastArrivalMs }) => lastArrivalMs)));
        finished = true;
        return run;
      }
      await setImmediate();
    }
    return undefined;
  } finally {
    for (const source of sources) source.close();
    if (!finished) writer.abandon();
  }
}

const SLICE_MS = 4;
/** 256 KiB of each input in memory. */
const READ_RECORDS = 8192;

/** Merges for a slice of time; true when all is merged. `heads` are the first words of the sources' records, infinite at the end. */
function mergeSlice(sources: readonly Source[], heads: Float64Array, writer: RunWriter, keepFromMs: number): boolean {
  const until = performance.now() + SLICE_MS;
  while (performance.now() < until) {
    for (let i = 0; i < 1024; i++) {
      const least = leastOf(sources, heads);
      if (least < 0) return true;
      const source = sources[least] as Source;
      if (arrivalOf(source.records, source.at) >= keepFromMs) writer.push(source.records, source.at, true);
      source.next();
      heads[least] = source.head;
    }
  }
  return false;
}

function leastOf(sources: readonly Source[], heads: Float64Array): number {
  let least = -1;
  let head = Number.POSITIVE_INFINITY;
  for (let i = 0; i < heads.length; i++) {
    const other = heads[i] as number;
    if (other > head || (other === head && (least < 0 || !before(sources[i], sources[least])))) continue;
    least = i;
    head = other;
  }
  return least;
}

function before(a: Source | undefined, b: Source | undefined): boolean {
  return a !== undefined && b !== undefined && compareRecords(a.records, a.at, b.records, b.at) < 0;
}

/** Walks through the records of a run. */
class Source {
  readonly records = new Uint32Array(READ_RECORDS * RECORD_WORDS);
  /** The record this stands at, within `records`. */
  at = -1;
  readonly #files: IndexFiles;
  readonly #run: Run;
  readonly #fd: number;
  #read = 0;
  #held = 0;

  constructor(files: IndexFiles, run: Run) {
    this.#files = files;
    this.#run = run;
    try {
      this.#fd = files.open(run.path, "read");
    } catch (error) {
      throw asDamage(run.path, error);
    }
  }

  /** First word of the record this stands at; infinite at the end. */
  get head(): number {
    return this.#held === 0 ? Number.POSITIVE_INFINITY : (this.records[this.at * RECORD_WORDS] as number);
  }

  next(): void {
    if (++this.at < this.#held) return;
    try {
      this.#held = this.#run.read(this.#fd, this.#read, this.records);
    } catch (error) {
      throw asDamage(this.#run.path, error);
    }
    this.#read += this.#held;
    this.at = 0;
  }

  close(): void {
    this.#files.close(this.#fd);
  }
}
