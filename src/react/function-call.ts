/**
 * What a user's function gets for one event in one attempt: its context. What it emits and sets is kept here until the attempt has ended well, so that one
 * that fails leaves nothing behind, and one that was given up for its time can do nothing any more.
 */
import * as z from "zod";
import type { EventMeta, KeyState } from "../define/on.ts";
import { MillraceError } from "../errors.ts";
import type { FeatureOperator, FeatureValue } from "./features/feature-operator.ts";
import type { LookupTable } from "./lookups/lookup-table.ts";
import type { EventView, KeyedState, Outlet } from "./operator.ts";

/** What all calls of a function share. */
export interface CallParts {
  readonly name: string;
  readonly stream: string;
  /** Field of the key; undefined: events have none. */
  readonly key: string | undefined;
  readonly state: { readonly values: KeyedState<unknown>; readonly schema: z.core.$ZodType } | undefined;
  /** Streams that may be emitted to, with the one text field of their id, where they have one. */
  readonly targets: ReadonlyMap<string, string | undefined>;
  readonly log: (message: string, fields: Readonly<Record<string, unknown>>) => void;
  readonly features: ReadonlyMap<string, FeatureOperator>;
  readonly lookups: Readonly<Record<string, LookupTable>>;
}

/** Fields are arrow functions so that they can be taken off the context. */
export class FunctionCall {
  readonly key: string | undefined;
  readonly state: CallState | undefined;
  readonly attempt: number;
  readonly #parts: CallParts;
  readonly #event: EventView;
  readonly #emitted: { readonly stream: string; readonly event: Record<string, unknown> }[] = [];
  readonly #scope: AttemptScope;
  #ended = false;

  constructor(parts: CallParts, event: EventView, attempt: number, scope: AttemptScope) {
    this.#parts = parts;
    this.#event = event;
    this.attempt = attempt;
    this.#scope = scope;
    this.key = keyText(parts.key, event);
    if (parts.state) this.state = new CallState(parts, this.key, scope, () => this.#check("the state"));
  }

  get event(): Readonly<Record<string, unknown>> {
    return this.#event.value;
  }

  get meta(): EventMeta {
    const { partition, offset, receivedAtMs, source } = this.#event;
    return { stream: this.#parts.stream, partition, offset, receivedAt: new Date(receivedAtMs), source };
  }

  get id(): string {
    const { partition, offset } = this.#event;
    return `${this.#parts.name}/${this.#parts.stream}/${partition}-${offset}/${this.#emitted.length}`;
  }

  get signal(): AbortSignal {
    return this.#scope.signal;
  }

  readonly emit = (target: unknown, event: unknown): void => {
    this.#check("emit");
    const { targets } = this.#parts;
    const stream = typeof target === "string" ? target : (target as { name?: unknown } | undefined)?.name;
    if (typeof stream !== "string") throw this.#cannotEmit("an event", "its target is no stream");
    if (!targets.has(stream))
      throw this.#cannotEmit(`to "${stream}"`, `it may emit to ${[...targets.keys()].join(", ") || "no stream"}`);
    if (typeof event !== "object" || event === null || Array.isArray(event)) {
      const got = event === null ? "null" : Array.isArray(event) ? "a list" : `a ${typeof event}`;
      throw this.#cannotEmit(
        `to "${stream}"`,
        `an event is an object, and this is ${event === undefined ? "nothing" : got}`,
      );
    }
    // A copy, since what the function changes afterwards is not what it emitted.
    const copy = { ...(event as Record<string, unknown>) };
    try {
      JSON.stringify(copy);
    } catch (error) {
      throw this.#cannotEmit(`to "${stream}"`, (error as Error).message);
    }
    const idField = targets.get(stream);
    if (idField !== undefined && (copy[idField] === undefined || copy[idField] === null)) copy[idField] = this.id;
    this.#emitted.push({ stream, event: copy });
  };

  readonly feature = (feature: unknown, key?: string | number | boolean): FeatureValue => {
    const name = typeof feature === "string" ? feature : (feature as { name?: unknown } | undefined)?.name;
    const operator = typeof name === "string" ? this.#parts.features.get(name) : undefined;
    if (operator === undefined) {
      const known = [...this.#parts.features.keys()].join(", ") || "none";
      throw new MillraceError("FUNCTION_FEATURE", { function: this.#parts.name, feature: String(name), known });
    }
    return operator.at(this.#event, key === undefined ? undefined : String(key));
  };

  get lookups(): Readonly<Record<string, LookupTable>> {
    return this.#parts.lookups;
  }

  readonly log = (message: string, fields: Readonly<Record<string, unknown>> = {}): void => {
    const { partition, offset } = this.#event;
    this.#parts.log(String(message), { partition, offset, ...fields });
  };

  /** What it has done counts. */
  commit(out: Outlet): void {
    this.end();
    for (const { stream, event } of this.#emitted) out.emit(stream, event);
    this.state?.commit();
  }

  /** From now on nothing counts. */
  end(): void {
    this.#ended = true;
  }

  #check(what: string): void {
    if (this.#ended) throw new MillraceError("FUNCTION_ENDED", { function: this.#parts.name, what });
  }

  #cannotEmit(what: string, reason: string): MillraceError {
    return new MillraceError("FUNCTION_EMIT", { function: this.#parts.name, what, reason });
  }
}

/** What the events of an attempt share: the signal, made when somebody asks for it, and what those before have made of a key. */
export class AttemptScope {
  #states: Map<string, unknown> | undefined;
  #controller: AbortController | undefined;
  #aborted: Error | undefined;

  /** By key; undefined: deleted. */
  get states(): Map<string, unknown> {
    this.#states ??= new Map();
    return this.#states;
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#aborted) this.#controller.abort(this.#aborted);
    return this.#controller.signal;
  }

  abort(reason: Error): void {
    this.#aborted = reason;
    this.#controller?.abort(reason);
  }
}

/** The value of an event's key as text; undefined where it has none. */
export function keyText(field: string | undefined, { value }: EventView): string | undefined {
  if (field === undefined) return undefined;
  const key = value[field];
  if (typeof key === "string") return key;
  return key === undefined || key === null ? undefined : String(key);
}

class CallState implements KeyState<unknown> {
  readonly #parts: CallParts;
  readonly #key: string | undefined;
  readonly #scope: AttemptScope;
  readonly #check: () => void;
  #change: { readonly value: unknown } | undefined;

  constructor(parts: CallParts, key: string | undefined, scope: AttemptScope, check: () => void) {
    this.#parts = parts;
    this.#key = key;
    this.#scope = scope;
    this.#check = check;
  }

  get(): unknown {
    const key = this.#required();
    const { states } = this.#scope;
    return states.has(key) ? states.get(key) : frozen(this.#parts.state?.values.get(key));
  }

  set(value: unknown): void {
    const key = this.#required();
    const { name, state } = this.#parts;
    const parsed = z.safeParse(state?.schema as z.core.$ZodType, value);
    if (!parsed.success) {
      const [issue] = parsed.error.issues;
      const place = issue === undefined || issue.path.length === 0 ? "" : `${issue.path.join(".")}: `;
      throw new MillraceError("FUNCTION_STATE", { function: name, reason: `${place}${issue?.message}` });
    }
    if (parsed.data === undefined)
      throw new MillraceError("FUNCTION_STATE", { function: name, reason: "it is undefined" });
    this.#become(key, frozen(parsed.data));
  }

  delete(): void {
    this.#become(this.#required(), undefined);
  }

  commit(): void {
    if (this.#change === undefined || this.#key === undefined) return;
    const values = this.#parts.state?.values;
    if (this.#change.value === undefined) values?.delete(this.#key);
    else values?.set(this.#key, this.#change.value);
  }

  #become(key: string, value: unknown): void {
    this.#scope.states.set(key, value);
    this.#change = { value };
  }

  #required(): string {
    this.#check();
    const { name, key } = this.#parts;
    if (this.#key === undefined) throw new MillraceError("FUNCTION_NO_KEY", { function: name, key });
    return this.#key;
  }
}

/** What is kept must not change under the hands of the function that got it. */
function frozen<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) frozen(inner);
  }
  return value;
}
