import { isAscii } from "node:buffer";
import type { SentRun } from "./messages.ts";

/** A run on its way through the lane, line by line. */
export class OpenRun {
  readonly to: number;
  readonly #run: SentRun;
  readonly #text: string;
  readonly #repeated: ReadonlySet<number> | undefined;
  #at = 0;
  #offset: number;
  #span = 0;

  constructor(run: SentRun) {
    this.#run = run;
    this.#repeated = run.repeated.length === 0 ? undefined : new Set(run.repeated);
    this.to = run.to;
    this.#offset = run.from;
    const bytes = Buffer.from(run.bytes.buffer, run.bytes.byteOffset, run.bytes.length);
    this.#text = bytes.toString(isAscii(bytes) ? "latin1" : "utf8");
  }

  take(): { readonly offset: number; readonly text: string } | undefined {
    if (this.#offset > this.to) return undefined;
    const end = this.#text.indexOf("\n", this.#at);
    const text = this.#text.slice(this.#at, end);
    this.#at = end + 1;
    return { offset: this.#offset++, text };
  }

  isRepeated(offset: number): boolean {
    return this.#repeated?.has(offset) ?? false;
  }

  spanOf(offset: number): { readonly receivedAtMs: number; readonly source: string } {
    const { spans } = this.#run;
    while ((spans[this.#span]?.to ?? offset) < offset) this.#span++;
    return spans[this.#span] ?? { receivedAtMs: 0, source: "" };
  }
}
