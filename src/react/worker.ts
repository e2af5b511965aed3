/**
 * The thread of reactions: loads the project's modules, opens operators, and works through the lanes in turn. Between two pieces of work,
 * each a fraction of a millisecond, it answers reads.
 */
import { parentPort, workerData } from "node:worker_threads";
import { type Definition, definitionKind } from "../define/definition.ts";
import { definitionsOf, loadModule } from "../define/project-modules.ts";
import type { LookupPlan } from "../define/read-lookup.ts";
import { MillraceError } from "../errors.ts";
import { OperatorStates } from "./attempt.ts";
import { LaneWork } from "./lane-work.ts";
import { LookupTable } from "./lookups/lookup-table.ts";
import type {
  CarriedError,
  FromWorker,
  Incompatible,
  LaneSetup,
  OperatorSetup,
  ToWorker,
  WorkerStart,
} from "./messages.ts";
import type { LaneServices, OperatorKind } from "./operator.ts";
import { ParsedEvents } from "./parsed-events.ts";
import { readEntries, stateOfBlock } from "./state-entries.ts";
import { JSON_CODEC, StateStore } from "./state-store.ts";
import { ThreadWatch } from "./thread-watch.ts";
import { type OpenedOperator, WorkerLane } from "./worker-lane.ts";

const { project, kinds, idFields, watch: memory } = workerData as WorkerStart;
const watch = new ThreadWatch(memory);
const lanes = new Map<number, LaneWork>();
/** States of lanes that are not open yet, by name. */
const restored = new Map<number, Map<string, StateStore>>();
/** By stream and partition. */
const parsed = new Map<string, ParsedEvents>();
const definitions = new Map<string, Definition>();
/** Copies of tables, by the look-up's id. Operators hold them, so they are there before they are told of rows. */
const lookups = new Map<string, LookupTable>();
let operatorKinds: Readonly<Record<string, OperatorKind<unknown, unknown> | undefined>>;
let order: LaneWork[] = [];
let turn = 0;
let scheduled = false;

// What a handler leaves running may throw later. It is told of, and the thread goes on: its events have their outcome already.
process.on("uncaughtException", (error) => say({ kind: "uncaught", error: carried(error) }));
process.on("unhandledRejection", (error) => say({ kind: "uncaught", error: carried(error) }));

load().then(
  () => {
    parentPort?.on("message", hear);
    say({ kind: "ready" });
  },
  (error: unknown) => say({ kind: "failed", error: carried(error) }),
);

async function load(): Promise<void> {
  operatorKinds = ((await import(kinds)) as { operatorKinds: typeof operatorKinds }).operatorKinds;
  for (const file of project.modules) {
    const loaded = await loadModule(project.dir, file);
    if ("problem" in loaded)
      throw new MillraceError("REACT_OPEN_FAILED", { what: file, reason: loaded.problem.message });
    for (const { definition } of definitionsOf(project.dir, file, loaded.exports))
      definitions.set(`${definitionKind(definition)}/${definition.name}`, definition);
  }
}

function hear(message: ToWorker): void {
  watch.beat();
  switch (message.kind) {
    case "restore":
      restore(message.lane, message.entries);
      break;
    case "open":
      open(message.lane, message.setup);
      break;
    case "run":
      lanes.get(message.lane)?.lane.push(message.run);
      wake();
      break;
    case "skip":
      lanes.get(message.lane)?.lane.skip(message.to);
      wake();
      break;
    case "take":
      lanes.get(message.lane)?.take(message.take);
      wake();
      break;
    case "copy":
      lanes.get(message.lane)?.copy(message.copy);
      wake();
      break;
    case "written":
      lanes.get(message.lane)?.written();
      wake();
      break;
    case "halt":
      lanes.get(message.lane)?.halt();
      wake();
      break;
    case "close":
      close(message.lane);
      break;
    case "retry":
      void retry(message);
      break;
    case "read":
      read(message);
      break;
    case "lookup":
      lookupTable(message.plan).tell(message.block);
      return;
    case "tick":
      for (const { lane } of order) lane.tick(message.nowMs);
      wake();
      break;
  }
}

function restore(lane: number, entries: Uint8Array): void {
  const { name } = stateOfBlock(entries);
  const stores = restored.get(lane) ?? new Map<string, StateStore>();
  restored.set(lane, stores);
  const store = stores.get(name) ?? new StateStore(name);
  stores.set(name, store);
  readEntries(entries, (key, setAtMs, value) => store.load(key, setAtMs, value));
  say({ kind: "restored", lane });
}

function open(number: number, setup: LaneSetup): void {
  const stores = restored.get(number) ?? new Map<string, StateStore>();
  restored.delete(number);
  const incompatible: Incompatible[] = [];
  let opened: OpenedOperator[];
  try {
    opened = [];
    for (const operator of setup.operators) opened.push(openOperator(operator, setup, stores, incompatible, opened));
  } catch (error) {
    say({ kind: "open-failed", lane: number, error: carried(error) });
    return;
  }
  if (incompatible.length === 0) {
    const lane = new WorkerLane(setup, opened, {
      ...{ watch, idFields, wake, parsed: setup.shared ? parsedOf(setup) : undefined },
      report: (error) => say({ kind: "uncaught", error: carried(error) }),
    });
    lanes.set(number, new LaneWork(number, lane, opened, say));
    order = [...lanes.values()];
  }
  say({ kind: "opened", lane: number, incompatible });
}

function close(number: number): void {
  const closed = lanes.get(number)?.lane.setup;
  restored.delete(number);
  lanes.delete(number);
  order = [...lanes.values()];
  if (!closed) return;
  const { stream, partition } = closed;
  const others = order.some(({ lane: { setup } }) => setup.stream === stream && setup.partition === partition);
  if (!others) parsed.delete(`${stream}/${partition}`);
}

function lookupTable(plan: LookupPlan): LookupTable {
  const known = lookups.get(plan.id) ?? new LookupTable(plan);
  lookups.set(plan.id, known);
  return known;
}

function parsedOf({ stream, partition }: LaneSetup): ParsedEvents {
  const name = `${stream}/${partition}`;
  const known = parsed.get(name) ?? new ParsedEvents();
  parsed.set(name, known);
  return known;
}

function openOperator(
  setup: OperatorSetup,
  { stream, partition }: LaneSetup,
  restoredStores: ReadonlyMap<string, StateStore>,
  incompatible: Incompatible[],
  before: readonly OpenedOperator[],
): OpenedOperator {
  const { kind, name, plan } = setup.plan;
  const definition = definitions.get(`${kind}/${name}`);
  if (!definition)
    throw new MillraceError("REACT_OPEN_FAILED", {
      what: `${kind} "${name}"`,
      reason: "no module of the project exports it",
    });
  const opener = operatorKinds[kind];
  if (!opener)
    throw new MillraceError("REACT_OPEN_FAILED", { what: `${kind} "${name}"`, reason: `nothing opens a ${kind}` });
  const states = new OperatorStates();
  const services: LaneServices = {
    ...{ stream, partition, lookup: lookupTable },
    before: new Map(before.map(({ setup: { plan }, operator }) => [plan.name, operator])),
    state<V>(state: string, { codec = JSON_CODEC as never, ttlMs }: Parameters<LaneServices["state"]>[1] = {}) {
      const full = `${name}/${state}`;
      const known = setup.versions[state];
      if (known !== undefined && known !== codec.version)
        incompatible.push({ operator: name, state, got: known, wanted: codec.version });
      const store = states.stores.get(state) ?? restoredStores.get(full) ?? new StateStore(full);
      store.attach(codec as never, ttlMs);
      states.stores.set(state, store);
      return states.view(store as StateStore<V>);
    },
  };
  try {
    return { setup, states, operator: opener.open(plan, definition as never, services) };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new MillraceError("REACT_OPEN_FAILED", { what: `${kind} "${name}"`, reason }, { cause: error });
  }
}

async function retry({ lane, id, operator, event }: ToWorker & { kind: "retry" }): Promise<void> {
  const work = lanes.get(lane);
  if (!work) return;
  const { failure, emissions } = await work.lane.retry(operator, event);
  say(
    { kind: "retried", lane, id, failure, emissions },
    emissions ? [emissions.bytes.buffer, emissions.facts.buffer] : [],
  );
  wake();
}

function read({ id, lane, operator, request }: ToWorker & { kind: "read" }): void {
  try {
    const open = lanes.get(lane);
    if (!open) throw new MillraceError("REACT_UNAVAILABLE", { operator: "the operator", reason: "its lane has gone" });
    say({ kind: "read", id, value: open.lane.read(operator, request) });
  } catch (error) {
    say({ kind: "read", id, error: carried(error) });
  }
}

function wake(): void {
  if (scheduled) return;
  scheduled = true;
  setImmediate(work);
}

/** One lane's turn; messages are heard between two of them. */
function work(): void {
  scheduled = false;
  watch.beat();
  for (let tried = 0; tried < order.length; tried++) {
    const lane = order[turn++ % order.length] as LaneWork;
    if (lane.turn()) {
      wake();
      return;
    }
  }
}

function say(message: FromWorker, transfer: ArrayBuffer[] = []): void {
  parentPort?.postMessage(message, transfer);
}

function carried(error: unknown): CarriedError {
  if (!(error instanceof Error))
    return { code: undefined, params: undefined, message: String(error), stack: undefined };
  const { message, stack } = error;
  return {
    code: (error as { code?: unknown }).code as string | undefined,
    params: (error as { details?: unknown }).details,
    message,
    stack,
  };
}
