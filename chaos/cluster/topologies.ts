/** Which workers a run has. */
import type { Role } from "../../src/config/settings.ts";

export interface WorkerPlan {
  readonly name: string;
  readonly roles: readonly Role[];
}

const ALL: readonly Role[] = ["gateway", "flow", "react", "orchestrate", "serve"];

const of = (name: string, ...roles: Role[]): WorkerPlan => ({ name, roles });

export const TOPOLOGIES = {
  /** Every process does everything. */
  same: [of("all-1", ...ALL), of("all-2", ...ALL), of("all-3", ...ALL)],
  /** Doors apart from the rest. */
  doors: [
    ...[of("door-1", "gateway"), of("door-2", "gateway"), of("serve-1", "serve", "orchestrate")],
    ...[of("work-1", "flow", "react"), of("work-2", "flow", "react")],
  ],
  /** Every role apart: eight processes want more than two cores. */
  apart: [
    ...[
      of("door-1", "gateway"),
      of("door-2", "gateway"),
      of("serve-1", "serve"),
      of("serve-2", "serve", "orchestrate"),
    ],
    ...[of("flow-1", "flow"), of("flow-2", "flow"), of("react-1", "react"), of("react-2", "react")],
  ],
} as const satisfies Record<string, readonly WorkerPlan[]>;

export type Topology = keyof typeof TOPOLOGIES;
