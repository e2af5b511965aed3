/** What happens in one life of the platform, drawn from the run's seed. */
import type { Failing, Plan } from "./faults.ts";
import { damageBefore, isFirstStart, needsFailingDisk, needsOldFiles, needsReplay, POINTS } from "./points.ts";
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
  /** PostgreSQL is killed on its own: the server, or one connection's process, after which it begins anew by itself. */
  "state-server",
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
  /** In a data folder of its own, which the next start of that folder must bring up. */
  readonly firstStart: boolean;
  /** Damage before the start, by name. */
  readonly preparedBy: string | undefined;
  readonly stateServer: "server" | "connection" | undefined;
  /** Killed so long after its start, or after it serves, if it has not met its own end before. */
  readonly lastsMs: number;
  readonly measuredFromReady: boolean;
  readonly writesState: boolean;
  /** A table that is replayed again and again while the life lasts. */
  readonly replays: string | undefined;
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
  readonly #each: number | undefined;
  #deck: string[] = [];
  /** How often lives were planned for a point, and ended there. */
  readonly #tries = new Map<string, number>();
  readonly #hits = new Map<string, number>();
  /** Points that lives were planned for and did not come by: next time the first passage counts. */
  readonly #missed = new Set<string>();

  /** `each`: every named point must be met so often; the least met come first then. */
  constructor(random: Random, faults: readonly Fault[], each?: number) {
    this.#each = each;
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
    if (point !== undefined && isFirstStart(point)) {
      return { ...calm, plan: { kill: { point, nth: random.int(1, 12) } }, firstStart: true };
    }
    const stateServer = has("state-server", 0.12) ? random.pick(["server", "connection"] as const) : undefined;
    const refusing = point !== undefined && needsFailingDisk(point);
    const failing: Failing[] = [
      ...(refusing ? [this.#refusingLog()] : []),
      ...(has("eio", 0.15) ? [this.#failing("EIO")] : []),
      ...(has("full", 0.15) ? [this.#failing("ENOSPC")] : []),
    ];
    const jumps = (point !== undefined && needsOldFiles(point) && this.#faults.has("clock")) || has("clock", 0.15);
    return {
      ...calm,
      plan: {
        ...(point === undefined || stateServer ? {} : { kill: { point, nth: this.#nth(point) } }),
        ...(failing.length > 0 ? { failing } : {}),
        losesUnsynced,
      },
      lastsMs: named ? random.int(4000, 8000) : random.int(100, random.chance(0.15) ? 7000 : 2500),
      measuredFromReady: named || stateServer !== undefined || random.chance(0.7),
      preparedBy: point === undefined ? undefined : damageBefore(point),
      stateServer,
      writesState: has("state", named ? 0.02 : 0.3),
      replays: this.#replayed(point, stateServer),
      pauseMs: has("pause", 0.08) ? random.int(200, 1500) : undefined,
      fillMs: has("small-disk", 0.2) ? random.int(300, 1500) : undefined,
      jumpsMs: jumps ? this.#jumps() : [],
      damages: has("damage", 0.3),
    };
  }

  missed(point: string): void {
    this.#missed.add(point);
  }

  hit(point: string): void {
    this.#hits.set(point, (this.#hits.get(point) ?? 0) + 1);
  }

  /** True once every named point was met as often as it must be. */
  get done(): boolean {
    return this.#each !== undefined && this.#wanting().length === 0;
  }

  #wanting(): string[] {
    return POINTS.filter((point) => (this.#hits.get(point) ?? 0) < (this.#each ?? 0));
  }

  /** The point that was met least often; one that is hard to come by lets others go first now and then. */
  #leastMet(): string {
    const weight = (point: string) => (this.#hits.get(point) ?? 0) + (this.#tries.get(point) ?? 0) / 4;
    const wanting = this.#wanting();
    const least = Math.min(...wanting.map(weight));
    const point = this.#random.pick(wanting.filter((other) => weight(other) === least));
    this.#tries.set(point, (this.#tries.get(point) ?? 0) + 1);
    return point;
  }

  #calm(): LifePlan {
    return {
      plan: {},
      firstStart: false,
      preparedBy: undefined,
      stateServer: undefined,
      lastsMs: 2000,
      measuredFromReady: true,
      writesState: false,
      replays: undefined,
      pauseMs: undefined,
      fillMs: undefined,
      jumpsMs: [],
      damages: false,
    };
  }

  /** Every point comes up before one comes up again. */
  #draw(): string {
    if (this.#each !== undefined) return this.#leastMet();
    if (this.#deck.length === 0) {
      this.#deck = [...POINTS];
      for (let i = this.#deck.length - 1; i > 0; i--) {
        const j = this.#random.int(0, i);
        [this.#deck[i], this.#deck[j]] = [this.#deck[j] as string, this.#deck[i] as string];
      }
    }
    return this.#deck.pop() as string;
  }

  #nth(point: string): number {
    const busy = /truncate|rename|(create|remove) checkpoint/.test(point)
      ? 1
      : /log (write|fsync) checkpoint/.test(point)
        ? 10
        : /log (write|fsync)/.test(point)
          ? 60
          : /FLUSH|data file|manifest|run (write|fsync)/.test(point)
            ? 20
            : needsReplay(point)
              ? 1 // one replay takes as long as a life does on a busy machine
              : 3;
    const nth = this.#random.int(1, busy); // drawn in any case, so that what was missed does not change later plans
    return this.#missed.delete(point) ? 1 : nth;
  }

  /** A log that takes nothing, from about the moment it serves. */
  #refusingLog(): Failing {
    const steps = this.#random.pick(["write", "sync"] as const);
    return { disk: "log", steps, code: "EIO", fromMs: 1500, untilMs: 8000 };
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

  /** Life with a replay is harder for all other points too. */
  #replayed(point: string | undefined, stateServer: unknown): string | undefined {
    const table = this.#random.pick(["silver.enriched", "silver.orders", "silver.stock", "bronze.orders"] as const);
    const some = this.#random.chance(0.1) || (point !== undefined && needsReplay(point));
    return some && stateServer === undefined ? table : undefined;
  }

  #jumps(): number[] {
    const ahead = this.#random.int(1, 3) * HOUR_MS + this.#random.int(0, HOUR_MS);
    return this.#random.chance(0.5) ? [ahead, -ahead] : [-ahead, 2 * ahead];
  }
}
