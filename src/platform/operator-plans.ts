/** Every operator of a project, as the reactor runs them. */
import type { Settings } from "../config/settings.ts";
import type { Project, Stream } from "../define/project.ts";
import type { StreamFunction } from "../define/read-function.ts";
import { MillraceError } from "../errors.ts";
import type { FunctionPlan } from "../react/function-operator.ts";
import type { OperatorPlan } from "../react/operator.ts";
import { alertPlans } from "./alerting.ts";
import { featureLane, featurePlans } from "./features.ts";
import { windowPlans } from "./windows.ts";

export interface PlanFacts {
  /** Partitions that the log has of a stream. */
  readonly partitions: (stream: string) => number;
  readonly settings: Pick<Settings, "logLevel">;
}

/** In the order in which an event passes those of one lane: what is read comes before what reads it. @throws REACT_KEY */
export function operatorPlans(project: Project, facts: PlanFacts): readonly OperatorPlan[] {
  return [
    ...featurePlans(project, facts.partitions),
    ...functionPlans(project, facts),
    ...windowPlans(project, facts.partitions),
    ...alertPlans(project, facts.partitions),
  ];
}

/** True when the project has anything that the reactor runs. */
export function hasOperators(project: Project): boolean {
  const { functions, features, windows, alerts } = project;
  return (
    [functions, features, windows].some((kind) => kind.size > 0) ||
    [...alerts.values()].some(({ over }) => over === "stream")
  );
}

/** A lane of its own for each function, but for those that read features: they share that of the features. */
function functionPlans({ functions, streams }: Project, { partitions, settings }: PlanFacts): OperatorPlan[] {
  return [...functions.values()].map((one) => {
    const { name, stream, from, version, timeoutMs, concurrency } = one;
    checkKey(one, streams.get(stream) as Stream, partitions(stream));
    const emits = new Set(one.emits ?? streams.keys());
    const plan: FunctionPlan = {
      ...{ key: one.key, ttlMs: one.state?.ttlMs, timeoutMs, batch: one.batch, logLevel: settings.logLevel },
      features: one.features,
      lookups: one.lookups,
      targets: new Map([...emits].map((target) => [target, idField(streams.get(target) as Stream)])),
    };
    return {
      ...{ kind: "function", name, stream, from, plan, timeoutMs, concurrency },
      lane: one.features.length > 0 ? featureLane(stream) : `function-${name}`,
      stateHash: `version ${version}`,
    };
  });
}

/** Events of one key must be in one partition, or no state has all of them. */
function checkKey({ name, key, state }: StreamFunction, stream: Stream, partitions: number): void {
  const own = stream.key ?? (stream.id.length === 1 ? stream.id[0] : undefined);
  if (state === undefined || key === own || partitions === 1) return;
  const streamKey = own === undefined ? "no key" : `the key "${own}"`;
  throw new MillraceError("REACT_KEY", { subject: `function "${name}"`, key, stream: stream.name, streamKey });
}

function idField({ id, columns }: Stream): string | undefined {
  const column = columns.find(({ name }) => name === id[0]);
  return id.length === 1 && column?.type.kind === "string" ? column.name : undefined;
}
