import type { Emission } from "./attempt.ts";
import { EMISSION_FACTS, type SentEmissions } from "./messages.ts";

/** Collects emitted events as the bytes that will be appended. */
export class EmissionWriter {
  #bytes = Buffer.from(new ArrayBuffer(FIRST_BYTES));
  #used = 0;
  #facts: number[] = [];
  readonly #streams = new Map<string, number>();

  get empty(): boolean {
    return this.#facts.length === 0;
  }

  /** `number` tells apart what one event gave. */
  add({ stream, text }: Emission, operator: number, offset: number, number: number): void {
    const most = text.length * 3;
    if (this.#used + most > this.#bytes.length) this.#grow(most);
    const length = this.#bytes.write(text, this.#used, "utf8");
    this.#used += length;
    let place = this.#streams.get(stream);
    if (place === undefined) {
      place = this.#streams.size;
      this.#streams.set(stream, place);
    }
    this.#facts.push(place, operator, offset, number, length);
  }

  /** What was collected since the last time. */
  take(): SentEmissions | undefined {
    if (this.#facts.length === 0) return undefined;
    const bytes = new Uint8Array(this.#bytes.buffer.slice(0, this.#used));
    const facts = Float64Array.from(this.#facts);
    const streams = [...this.#streams.keys()];
    this.#used = 0;
    this.#facts = [];
    this.#streams.clear();
    return { bytes, facts, streams };
  }

  #grow(most: number): void {
    const larger = Buffer.from(new ArrayBuffer(Math.max(2 * this.#bytes.length, this.#used + most)));
    larger.set(this.#bytes.subarray(0, this.#used));
    this.#bytes = larger;
  }
}

export interface ReadEmission {
  readonly stream: string;
  readonly operator: number;
  readonly offset: number;
  readonly number: number;
  readonly payload: Uint8Array;
}

export function* readEmissions({ bytes, facts, streams }: SentEmissions): Generator<ReadEmission> {
  let at = 0;
  for (let i = 0; i < facts.length; i += EMISSION_FACTS) {
    const [stream, operator, offset, number, length] = facts.subarray(i, i + EMISSION_FACTS) as unknown as number[];
    const payload = bytes.subarray(at, at + (length as number));
    at += length as number;
    yield {
      ...{ stream: streams[stream as number] as string, payload },
      ...{ operator: operator as number, offset: offset as number, number: number as number },
    };
  }
}

const FIRST_BYTES = 64 * 1024;
