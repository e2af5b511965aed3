/**
 * Obligations: what the platform has promised. A producer appends one line per acknowledged event to its own file, and only
 * after the answer 202:
 *
 *     {"s":"orders","id":"p0-l1-17","lane":"p0-l1","n":17,"fate":"stored","about":["2026-01-02",1999,"DE"],"sha":"…","in":[[0,120,164]]}
 *
 * `sha` is the SHA-256 of the payload as it was sent; `in` are the offset ranges (partition, first, last) that the answer named.
 */
import { closeSync, openSync, readdirSync, readSync, writeSync } from "node:fs";
import { join } from "node:path";
import { type Fate, type Sent, type StreamName, sha256 } from "./traffic.ts";

export interface Obligation {
  readonly s: StreamName;
  readonly id: string;
  readonly lane: string;
  readonly n: number;
  readonly fate: Fate;
  readonly about: readonly (string | number)[];
  readonly sha: string;
  readonly in: readonly (readonly [number, number, number])[];
}

export class ObligationWriter {
  readonly #fd: number;

  constructor(path: string) {
    this.#fd = openSync(path, "a");
  }

  write(events: readonly Sent[], ranges: Obligation["in"]): void {
    const lines = events.map(({ stream: s, id, lane, n, fate, about, text }) =>
      JSON.stringify({ s, id, lane, n, fate, about, sha: sha256(text), in: ranges } satisfies Obligation),
    );
    writeSync(this.#fd, `${lines.join("\n")}\n`);
  }
}

/** Reads the files of all producers of a folder, each call only what has been added since. */
export class ObligationReader {
  readonly #dir: string;
  readonly #files = new Map<string, { position: number; rest: string }>();

  constructor(dir: string) {
    this.#dir = dir;
  }

  readNew(): Obligation[] {
    const found: Obligation[] = [];
    for (const name of readdirSync(this.#dir).filter((file) => file.endsWith(".obligations"))) {
      const state = this.#files.get(name) ?? { position: 0, rest: "" };
      this.#files.set(name, state);
      const lines = (state.rest + this.#tail(join(this.#dir, name), state)).split("\n");
      state.rest = lines.pop() ?? "";
      for (const line of lines) found.push(JSON.parse(line));
    }
    return found;
  }

  #tail(path: string, state: { position: number }): string {
    const fd = openSync(path, "r");
    try {
      const pieces: Buffer[] = [];
      for (;;) {
        const piece = Buffer.alloc(1 << 20);
        const got = readSync(fd, piece, 0, piece.length, state.position);
        if (got === 0) break;
        pieces.push(piece.subarray(0, got));
        state.position += got;
      }
      // Lines are ASCII but for ids and days, which are ASCII as well.
      return Buffer.concat(pieces).toString("latin1");
    } finally {
      closeSync(fd);
    }
  }
}
