import type { Trigger } from "../define/triggers.ts";
import type { State } from "../state/state.ts";
import type { RunQueue } from "./run-queue.ts";
import { type CreatedRun, createRuns, type NewRun } from "./run-table.ts";
import { valueHash } from "./step-values.ts";

/** Names a trigger of a workflow through restarts: `cron 0 2 * * * UTC`, `commit silver.orders`. */
export interface TriggerName {
  readonly workflow: string;
  readonly trigger: string;
}

/**
 * What each trigger has dealt with already. It moves on in the transaction that makes the runs, and each run carries what it is for as its
 * idempotency key: so nothing is lost when a crash comes between the event and its run, and nothing is started twice.
 */
export class TriggerStates {
  readonly #state: State;
  readonly #queue: RunQueue;
  readonly #clock: () => number;
  readonly #made: (runs: readonly NewRun[], created: readonly CreatedRun[]) => void;
  readonly #known = new Map<string, unknown>();

  constructor(
    state: State,
    queue: RunQueue,
    clock: () => number,
    /** Told of runs that were made, once they are recorded. */
    made: (runs: readonly NewRun[], created: readonly CreatedRun[]) => void,
  ) {
    this.#state = state;
    this.#queue = queue;
    this.#clock = clock;
    this.#made = made;
  }

  /** Loads what is known and forgets triggers that the project no longer has. */
  async load(names: readonly TriggerName[]): Promise<void> {
    const rows = await this.#state.query<TriggerName & { state: unknown }>("select * from millrace.triggers");
    const wanted = new Set(names.map(nameOf));
    for (const row of rows) {
      if (wanted.has(nameOf(row))) this.#known.set(nameOf(row), row.state);
      else
        await this.#state.query("delete from millrace.triggers where workflow = $1 and trigger = $2", [
          row.workflow,
          row.trigger,
        ]);
    }
  }

  get<T>(name: TriggerName): T | undefined {
    return this.#known.get(nameOf(name)) as T | undefined;
  }

  /**
   * Moves a trigger on and makes the runs it asks for. When the answer to an earlier call was lost and it did happen, nothing is done but
   * learning of it: `get` then gives what is recorded.
   */
  async fire(name: TriggerName, state: unknown, runs: readonly NewRun[]): Promise<void> {
    const key = nameOf(name);
    const known = this.#known.get(key);
    let created: readonly CreatedRun[] = [];
    const recorded = await this.#state.transaction(async (session) => {
      const [row] = await session.query<{ state: unknown }>(
        "select state from millrace.triggers where workflow = $1 and trigger = $2 for update",
        [name.workflow, name.trigger],
      );
      if (valueHash(row?.state) !== valueHash(known)) return row?.state;
      await session.query(
        `insert into millrace.triggers (workflow, trigger, state) values ($1, $2, $3)
         on conflict (workflow, trigger) do update set state = excluded.state`,
        [name.workflow, name.trigger, JSON.stringify(state)],
      );
      if (runs.length > 0) created = await createRuns(session, this.#queue, runs, this.#clock());
      return state;
    });
    this.#known.set(key, recorded);
    this.#made(runs, created);
  }
}

function nameOf({ workflow, trigger }: TriggerName): string {
  return `${workflow} ${trigger}`;
}

/** How a trigger is known through restarts. */
export function triggerName(trigger: Trigger): string {
  switch (trigger.kind) {
    case "cron":
      return `cron ${trigger.expression} ${trigger.timezone}`;
    case "amount":
      return `amount ${trigger.table} ${trigger.rows}`;
    case "commit":
      return `commit ${trigger.table}`;
    case "arrival":
      return `arrival ${trigger.files}`;
    default:
      return `${trigger.kind} ${trigger.workflow}`;
  }
}
