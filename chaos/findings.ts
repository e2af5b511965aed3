/** What the judge has found: what is lost, what is there twice, and whatever else is not as it was promised. */

export interface LedgerHop {
  readonly hop: string;
  readonly accepted: number;
  readonly stored: number;
  readonly duplicate: number;
  readonly filtered: number;
  readonly deadLettered: number;
}

/** More examples of one kind of violation say nothing new. */
const MOST_EXAMPLES = 5;

export class Findings {
  readonly lost = new Set<string>();
  readonly duplicated = new Set<string>();
  readonly #examples = new Map<string, string[]>();
  readonly #counts = new Map<string, number>();

  /** A line for each kind of violation, with how often it was found. */
  get violations(): string[] {
    return [...this.#examples].map(
      ([kind, examples]) => `${kind}: ${this.#counts.get(kind)}, for example ${examples.join("; ")}`,
    );
  }

  find(kind: string, example: string): void {
    this.#counts.set(kind, (this.#counts.get(kind) ?? 0) + 1);
    const examples = this.#examples.get(kind) ?? [];
    if (examples.length < MOST_EXAMPLES) this.#examples.set(kind, [...examples, example]);
  }

  /** Each of these is there, once, and nothing else is. */
  once(what: string, expected: ReadonlySet<string>, found: Iterable<string>): void {
    const seen = new Set<string>();
    for (const id of found) {
      if (seen.has(id)) {
        this.duplicated.add(`${what} ${id}`);
        this.find(`${what} repeats`, id);
      }
      if (!expected.has(id)) this.find(`${what} holds what it must not`, id);
      seen.add(id);
    }
    for (const id of expected) {
      if (seen.has(id)) continue;
      this.lost.add(`${what} ${id}`);
      this.find(`${what} lacks`, id);
    }
  }

  /** The ledger's counts are what the tables and the obligations say. */
  ledgerSays(ledger: readonly LedgerHop[], hop: string, expected: Partial<LedgerHop>): void {
    const entry = ledger.find((other) => other.hop === hop);
    for (const [name, count] of Object.entries(expected)) {
      const said = entry?.[name as keyof LedgerHop];
      if (said !== count) this.find("the ledger is wrong", `${hop}: ${name} is ${said}, there are ${count}`);
    }
  }
}
