type Value = Readonly<Record<string, unknown>>;

/** Lanes of one partition are rarely further apart than this; those that are parse by themselves. */
const MOST = 4096;

/**
 * The newest events of a partition as values, for lanes that take the same ones: parsing is the dearest part of an event. They are frozen, so that what one
 * handler does to an event is its own failure and not a change for the others.
 */
export class ParsedEvents {
  readonly #offsets = new Float64Array(MOST).fill(-1);
  readonly #values = new Array<Value | undefined>(MOST);

  get(offset: number): Value | undefined {
    return this.#offsets[offset % MOST] === offset ? this.#values[offset % MOST] : undefined;
  }

  put(offset: number, value: Value): void {
    this.#offsets[offset % MOST] = offset;
    this.#values[offset % MOST] = frozen(value);
  }
}

/** Frozen with all within it. */
export function frozen<T>(value: T): T {
  if (typeof value !== "object" || value === null) return value;
  for (const key in value) if (typeof value[key] === "object") frozen(value[key]);
  return Object.freeze(value);
}
