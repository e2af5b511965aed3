import type { FieldName } from "./fields.ts";
import type { Store } from "./store.ts";

/** What the tracker stands on: a page of a browser, or a process of Node. */
export interface Host {
  /** The durable queue. When it cannot be opened, events are kept in memory and sent from there. */
  open(): Promise<Store>;
  /** What `save` was given last, here or in another tab. */
  load(): State | undefined;
  /** `touched`: only the session's clock went on. */
  save(state: State, touched: boolean): void;
  /** The value of a field that depends on the surroundings. */
  value(name: FieldName): unknown;
  /** Runs the work while no other tab does the same, where that can be had. */
  exclusively(work: () => Promise<void>): Promise<void>;
  now(): number;
  /** 0 <= n < 1 */
  random(): number;
  uuid(): string;
}

/** What is remembered between visits. Short names, for it is written with each event. */
export interface State {
  /** Anonymous id. */
  a?: string;
  /** User id. */
  u?: string | undefined;
  /** Group id. */
  g?: string | undefined;
  /** Consent: given, refused, or not asked. */
  c?: boolean;
  /** Session: id, start, last event (both in ms), number, count of events. */
  s?: [string, number, number, number, number] | undefined;
}
