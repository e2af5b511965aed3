/** What happens in one life of the platform, drawn from the run's seed. */
import type { Failing, Plan } from "./faults.ts";
import { isRare, needsOldFiles, POINTS } from "./points.ts";
import type { Random } from "./random.ts";

export const FAULTS = [
  /** kill -9 at random moments. */
  "kill",
  /** kill -9 at the named points. */
  "points",
  /** As `points`, and what was not synced is lost. */
  "power",
  /** kill -9 while a key is being written to the state. */
  "state",
  /** SIGSTOP, and SIGCONT after a while. */
  "pause",
  /** Steps of a disk fail with EIO. */
  "eio",
  /** Steps of a disk fail with ENOSPC. */
  "full",
  /** The data folder is a small file system (needs root), filled to the last byte for a while. */
  "small-disk",
  /** The clock jumps ahead and back. */
  "clock",
  /** Files are damaged between two lives, in ways that can be mended. */
  "damage",
] as const;

export type Fault = (typeof FAULTS)[number];

/** Everything that needs no rights. */
export const DEFAULT_FAULTS: readonly Fault[] = FAULTS.filter((fault) => fault !== "small-disk");

export interface LifePlan {
  readonly plan: Plan;
  /** Killed so long after its start, or after it serves, if it has not met its own end before. */
  readonly lastsMs: number;
  readonly measuredFromReady: boolean;
  readonly writesState: boolean;
  readonly pauseMs: number | undefined;
  readonly fillMs: number | undefined;
  /** Forwards and back again. */
  readonly jumpsMs: readonly number[];
  readonly damages: boolean;
}

const HOUR_MS = 3_600_000;

export class LifePlanner {
  readonly #random: Random;
  readonly #faults: ReadonlySet<Fault>;
  #deck: string[] = [];
  /** Points that lives were planned for and did not come by: next time the first passage counts. */
  readonly #missed = new Set<string>();

  constructor(random: Random, faults: readonly Fault[]) {
    this.#random = random;
    this.#faults = new Set(faults);
  }

  /** The first life makes the tables, which no other does. */
  first(): LifePlan {
    const point = this.#random.pick(POINTS.filter((name) => name.includes("CREATE")));
    const kills = this.#faults.has("points") || this.#faults.has("power");
    return { ...this.#calm(), plan: kills ? { kill: { point, nth: this.#random.int(1, 20) } } : {}, lastsMs: 500 };
  }

  next(): LifePlan {
    const random = this.#random;
    const has = (fault: Fault, probability: number) => this.#faults.has(fault) && random.chance(probability);
    const calm = this.#calm();
    const named = has("points", 0.8) || has("power", 0.5);
    const losesUnsynced = has("power", 0.5);
    const point = named ? this.#draw() : undefined;
    const failing = [
      ...(has("eio", 0.15) ? [this.#failing("EIO")] : []),
      ...(has("full", 0.15) ? [this.#failing("ENOSPC")] : []),
    ];
    const jumps = (point !== undefined && needsOldFiles(point) && this.#faults.has("clock")) || has("clock", 0.15);
    return {
      ...calm,
      plan: {
        ...(point === undefined ? {} : { kill: { point, nth: this.#nth(point) } }),
        ...(failing.length > 0 ? { failing } : {}),
        losesUnsynced,
      },
      lastsMs: named ? random.int(4000, 8000) : random.int(100, random.chance(0.15) ? 7000 : 2500),
      measuredFromReady: named || random.chance(0.7),
      writesState: has("state", named ? 0.02 : 0.3),
      pauseMs: has("pause", 0.08) ? random.int(200, 1500) : undefined,
      fillMs: has("small-disk", 0.2) ? random.int(300, 1500) : undefined,
      jumpsMs: jumps ? this.#jumps() : [],
      damages: has("damage", 0.3),
    };
  }

  missed(point: string): void {
    this.#missed.add(point);
  }

  #calm(): LifePlan {
    return {
      plan: {},
      lastsMs: 2000,
      measuredFromReady: true,
      writesState: false,
      pauseMs: undefined,
      fillMs: undefined,
      jumpsMs: [],
      damages: false,
    };
  }

  /** Every point comes up before one comes up again. */
  #draw(): string {
    if (this.#deck.length === 0) {
      this.#deck = POINTS.filter((point) => !isRare(point) || point.includes("truncate"));
      for (let i = this.#deck.length - 1; i > 0; i--) {
        const j = this.#random.int(0, i);
        [this.#deck[i], this.#deck[j]] = [this.#deck[j] as string, this.#deck[i] as string];
      }
    }
    return this.#deck.pop() as string;
  }

  #nth(point: string): number {
    const busy = /log (write|fsync)/.test(point)
      ? 60
      : /FLUSH|data file|manifest|run (write|fsync)/.test(point)
        ? 20
        : 3;
    const nth = this.#random.int(1, busy); // drawn in any case, so that what was missed does not change later plans
    return this.#missed.delete(point) ? 1 : nth;
  }

  #failing(code: Failing["code"]): Failing {
    const fromMs = this.#random.int(0, 2000);
    return {
      disk: this.#random.pick(["log", "log", "lake", "lake", "index"] as const),
      steps: this.#random.pick(code === "EIO" ? ["write", "sync", "any"] : ["write"]),
      code,
      fromMs,
      untilMs: fromMs + this.#random.int(100, 1500),
    };
  }

  #jumps(): number[] {
    const ahead = this.#random.int(1, 3) * HOUR_MS + this.#random.int(0, HOUR_MS);
    return this.#random.chance(0.5) ? [ahead, -ahead] : [-ahead, 2 * ahead];
  }
}
