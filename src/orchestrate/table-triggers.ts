import type { Trigger } from "../define/triggers.ts";
import type { Draft } from "./schedules.ts";
import type { TriggerName, TriggerStates } from "./trigger-states.ts";

/** What triggers need to know of tables. */
export interface WatchedTables {
  /** The newest committed version; undefined where the table cannot be read. */
  version(table: string): number | undefined;
  /** The version there was when the platform began, before it took anything: where a trigger that is new begins. */
  firstVersion(table: string): number | undefined;
  /** What changed after one version, up to another one: rows added less rows removed. Undefined when that is not known any more. */
  changes(
    table: string,
    after: number,
    to: number,
  ): Promise<{ readonly changed: boolean; readonly rows: number } | undefined>;
}

export type TableTrigger = Trigger & { readonly kind: "commit" | "amount" };

interface Watch {
  readonly name: TriggerName;
  readonly trigger: TableTrigger;
  checking: Promise<void> | undefined;
  again: boolean;
}

/** Version up to which commits have been dealt with, and the rows counted towards the next run. */
interface Seen {
  readonly version: number;
  readonly rows: number;
}

/**
 * Runs by commits. What counts are the tables' own versions against the version each trigger has dealt with, so a commit that came just
 * before a crash is found by the next life, and being told of a commit twice changes nothing.
 */
export class TableTriggers {
  readonly #states: TriggerStates;
  readonly #tables: WatchedTables;
  readonly #draft: Draft;
  readonly #clock: () => number;
  readonly #report: (error: unknown, what: string) => void;
  readonly #fired: () => void;
  readonly #watches: Watch[] = [];

  constructor(parts: {
    states: TriggerStates;
    tables: WatchedTables;
    draft: Draft;
    clock: () => number;
    report: (error: unknown, what: string) => void;
    fired: () => void;
  }) {
    this.#states = parts.states;
    this.#tables = parts.tables;
    this.#draft = parts.draft;
    this.#clock = parts.clock;
    this.#report = parts.report;
    this.#fired = parts.fired;
  }

  /** A trigger that is new begins with the table as it is. */
  async open(triggers: readonly { readonly name: TriggerName; readonly trigger: TableTrigger }[]): Promise<void> {
    for (const { name, trigger } of triggers) {
      const watch: Watch = { name, trigger, checking: undefined, again: false };
      this.#watches.push(watch);
      await this.#look(watch);
    }
  }

  /** Told of a commit. */
  committed(table: string): void {
    for (const watch of this.#watches) if (watch.trigger.table === table) this.#check(watch);
  }

  /** Looks at every table: what a failure left undone is done then. */
  checkAll(): void {
    for (const watch of this.#watches) this.#check(watch);
  }

  #check(watch: Watch): void {
    watch.again = true;
    if (watch.checking !== undefined) return;
    const work = async () => {
      while (watch.again) {
        watch.again = false;
        await this.#look(watch);
      }
    };
    watch.checking = work()
      .catch((error: unknown) => this.#report(error, `starting ${watch.name.workflow} by ${watch.trigger.table}`))
      .finally(() => {
        watch.checking = undefined;
      });
  }

  /** Waits for runs that are being made. */
  async close(): Promise<void> {
    await Promise.all(this.#watches.map(({ checking }) => checking));
  }

  async #look({ name, trigger }: Watch): Promise<void> {
    const { table } = trigger;
    const version = this.#tables.version(table);
    if (version === undefined) return;
    const known = this.#states.get<Seen>(name);
    // A lower version than was seen: the table was made anew.
    if (known === undefined || known.version > version) {
      const first = Math.min(this.#tables.firstVersion(table) ?? version, version);
      await this.#states.fire(name, { version: first, rows: 0 }, []);
    }
    const seen = this.#states.get<Seen>(name);
    if (seen === undefined || version <= seen.version) return;
    const found = await this.#tables.changes(table, seen.version, version);
    const rows = seen.rows + (found?.rows ?? 0);
    // What is not known any more is taken for a change: a run too many does less harm than one too few.
    const due = trigger.kind === "amount" ? rows >= trigger.rows : (found?.changed ?? true);
    const run = this.#draft(name.workflow, {
      cause: { kind: trigger.kind, by: table },
      input: { table, fromVersion: seen.version + 1, toVersion: version, rows },
      scheduledAtMs: this.#clock(),
      idempotencyKey: `${name.trigger} ${version}`,
    });
    await this.#states.fire(name, { version, rows: due ? 0 : Math.max(0, rows) }, due ? [run] : []);
    if (due) this.#fired();
  }
}
