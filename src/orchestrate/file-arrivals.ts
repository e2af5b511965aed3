import { glob, stat } from "node:fs/promises";
import { isAbsolute, resolve } from "node:path";
import type { Trigger } from "../define/triggers.ts";
import type { Draft } from "./schedules.ts";
import type { TriggerName, TriggerStates } from "./trigger-states.ts";

export type ArrivalTrigger = Trigger & { readonly kind: "arrival" };

interface Watch {
  readonly name: TriggerName;
  readonly trigger: ArrivalTrigger;
  /** Path -> size and time of change as the last look saw them. */
  sighted: Map<string, string>;
  looking: boolean;
}

/**
 * Runs by files. A folder is looked at every second; a file has arrived when two looks saw the same size and time of change, and is the same
 * file as long as path, size and time of change are.
 */
export class FileArrivals {
  readonly #states: TriggerStates;
  readonly #dir: string;
  readonly #draft: Draft;
  readonly #clock: () => number;
  readonly #report: (error: unknown, what: string) => void;
  readonly #fired: () => void;
  readonly #watches: Watch[] = [];

  constructor(parts: {
    states: TriggerStates;
    /** Folder that patterns are relative to. */
    dir: string;
    draft: Draft;
    clock: () => number;
    report: (error: unknown, what: string) => void;
    fired: () => void;
  }) {
    this.#states = parts.states;
    this.#dir = parts.dir;
    this.#draft = parts.draft;
    this.#clock = parts.clock;
    this.#report = parts.report;
    this.#fired = parts.fired;
  }

  open(triggers: readonly { readonly name: TriggerName; readonly trigger: ArrivalTrigger }[]): void {
    for (const { name, trigger } of triggers) this.#watches.push({ name, trigger, sighted: new Map(), looking: false });
  }

  /** Looks at every folder once. */
  async look(): Promise<void> {
    await Promise.all(
      this.#watches.map(async (watch) => {
        if (watch.looking) return;
        watch.looking = true;
        try {
          await this.#lookAt(watch);
        } catch (error) {
          this.#report(error, `looking for files of ${watch.name.workflow}`);
        } finally {
          watch.looking = false;
        }
      }),
    );
  }

  async #lookAt(watch: Watch): Promise<void> {
    const { name, trigger, sighted: before } = watch;
    const sighted = await filesOf(this.#dir, trigger.files);
    watch.sighted = sighted;
    const done = this.#states.get<{ files: Record<string, string> }>(name)?.files ?? {};
    const arrived = [...sighted].filter(([path, mark]) => before.get(path) === mark && done[path] !== mark);
    if (arrived.length === 0) return;
    const runs = arrived.map(([path, mark]) => {
      const [sizeBytes, modifiedMs] = mark.split(" ").map(Number);
      return this.#draft(name.workflow, {
        cause: { kind: "arrival", by: path },
        input: { path, file: resolve(this.#dir, path), sizeBytes, modifiedAt: new Date(modifiedMs!).toISOString() },
        scheduledAtMs: this.#clock(),
        idempotencyKey: `arrival ${path} ${mark}`,
      });
    });
    // Files that are gone are forgotten, so that the list is never longer than the folder's.
    const kept = Object.entries(done).filter(([path]) => sighted.has(path));
    await this.#states.fire(name, { files: { ...Object.fromEntries(kept), ...Object.fromEntries(arrived) } }, runs);
    this.#fired();
  }
}

/** Files that a pattern finds, by their path as the pattern writes it, with size and time of change. */
async function filesOf(dir: string, pattern: string): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  const paths: string[] = [];
  for await (const path of glob(pattern, { cwd: dir })) paths.push(path);
  for (const path of paths.sort()) {
    try {
      const file = await stat(isAbsolute(path) ? path : resolve(dir, path));
      if (file.isFile()) found.set(path, `${file.size} ${Math.floor(file.mtimeMs)}`);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error; // gone between the two
    }
  }
  return found;
}
