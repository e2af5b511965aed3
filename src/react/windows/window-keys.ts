import type { Column } from "../../define/project.ts";

/**
 * The values of a window's key as one text, and back: of one text field itself, of other fields a JSON array, and of no fields the empty text.
 */
export class WindowKeys {
  readonly #names: readonly string[];
  readonly #plain: string | undefined;

  constructor(columns: readonly Column[]) {
    this.#names = columns.map(({ name }) => name);
    this.#plain = columns.length === 1 && columns[0]!.type.kind === "string" ? columns[0]!.name : undefined;
  }

  /** Undefined when a field is null or missing. */
  of(event: Readonly<Record<string, unknown>>): string | undefined {
    if (this.#plain !== undefined) return (event[this.#plain] ?? undefined) as string | undefined;
    if (this.#names.length === 0) return "";
    const values = this.#names.map((name) => event[name]);
    return values.includes(undefined) || values.includes(null) ? undefined : JSON.stringify(values);
  }

  /** The fields of a row that begins with its key. */
  row(key: string): Record<string, unknown> {
    if (this.#plain !== undefined) return { [this.#plain]: key };
    if (this.#names.length === 0) return {};
    const values = JSON.parse(key) as unknown[];
    return Object.fromEntries(this.#names.map((name, i) => [name, values[i]]));
  }
}
