/** What befalls the workers and what they stand on, one after the other, by a seed. */
import type { Random } from "../random.ts";

export const CLUSTER_FAULTS = [
  "kill",
  "zombie",
  "pause",
  "rebalance",
  "restart",
  "cut",
  "broker",
  "broker-pause",
  "postgres",
  "postgres-cut",
  "s3",
  "s3-down",
] as const;
export type ClusterFault = (typeof CLUSTER_FAULTS)[number];

/** How often each comes, against the others. */
const WEIGHTS: Readonly<Record<ClusterFault, number>> = {
  kill: 6,
  zombie: 2,
  pause: 2,
  rebalance: 3,
  restart: 2,
  cut: 3,
  broker: 2,
  "broker-pause": 2,
  postgres: 2,
  "postgres-cut": 2,
  s3: 3,
  "s3-down": 2,
};

export interface PlannedFault {
  readonly fault: ClusterFault;
  /** Before it. */
  readonly waitMs: number;
  /** How long it lasts: until what was killed is started again, what was cut is whole again. */
  readonly lastsMs: number;
  /** Which of the workers or brokers: taken modulo their number. */
  readonly which: number;
  /** A killed worker has lost its data folder as well. */
  readonly bare: boolean;
}

/** The session that the group and the leases give a process is 20 s: a zombie sleeps for longer. */
const ZOMBIE_MS = [23_000, 32_000] as const;
const LASTS: Readonly<Partial<Record<ClusterFault, readonly [number, number]>>> = {
  kill: [0, 3_000],
  zombie: ZOMBIE_MS,
  pause: [500, 6_000],
  rebalance: [3_000, 9_000],
  restart: [0, 500],
  // Longer than the leases' time as well.
  cut: [500, 25_000],
  broker: [1_000, 8_000],
  "broker-pause": [500, 8_000],
  postgres: [200, 4_000],
  "postgres-cut": [500, 7_000],
  s3: [2_000, 8_000],
  "s3-down": [500, 7_000],
};

export class ClusterPlanner {
  readonly #random: Random;
  readonly #faults: readonly ClusterFault[];

  constructor(random: Random, faults: readonly ClusterFault[]) {
    this.#random = random;
    this.#faults = faults;
  }

  next(): PlannedFault {
    const random = this.#random;
    const fault = random.pick(this.#faults.flatMap((one) => Array<ClusterFault>(WEIGHTS[one]).fill(one)));
    const [least, most] = LASTS[fault] ?? [0, 0];
    return {
      fault,
      waitMs: random.int(300, 4_000),
      lastsMs: random.int(least, most),
      which: random.int(0, 1_000),
      bare: random.chance(0.3),
    };
  }
}
