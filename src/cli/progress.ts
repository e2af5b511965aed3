import { LiveBlock } from "./live-block.ts";
import { countText, elapsedText } from "./quantity-text.ts";
import type { Terminal } from "./terminal.ts";

const REDRAW_MS = 100;
/** Where nobody watches, a line now and then tells that it goes on. */
const LINE_MS = 5_000;
const BAR_WIDTH = 24;

/** Shows how far long work has come, on the standard error: a bar drawn in place for people, plain lines for logs. */
export class Progress {
  readonly #terminal: Terminal;
  readonly #what: string;
  readonly #block: LiveBlock | undefined;
  readonly #startedMs = performance.now();
  readonly #startedRows: number;
  #shownMs = performance.now();

  /** `startedRows`: rows that were done before, which say nothing about the speed. */
  constructor(terminal: Terminal, what: string, startedRows = 0) {
    this.#terminal = terminal;
    this.#what = what;
    this.#startedRows = startedRows;
    this.#block = terminal.stderr.isTTY ? new LiveBlock(terminal.stderr) : undefined;
  }

  update(rows: number, share: number): void {
    const nowMs = performance.now();
    if (nowMs - this.#shownMs < (this.#block === undefined ? LINE_MS : REDRAW_MS)) return;
    this.#shownMs = nowMs;
    const elapsedMs = nowMs - this.#startedMs;
    const speed = ((rows - this.#startedRows) / elapsedMs) * 1_000;
    const percent = `${Math.floor(Math.min(1, share) * 100)} %`;
    const facts = `${countText(rows)} rows, ${countText(speed)} rows/s, ${elapsedText(elapsedMs)}`;
    if (this.#block === undefined) this.#terminal.stderr.write(`${this.#what}: ${percent}, ${facts}\n`);
    else this.#block.draw([`${this.#what} ${bar(share)} ${percent}  ${facts}`]);
  }

  /** A remark that stays, above the bar. */
  note(text: string): void {
    if (this.#block === undefined) this.#terminal.stderr.write(`${text}\n`);
    else this.#block.above(`${text}\n`);
  }

  done(): void {
    this.#block?.clear();
  }
}

function bar(share: number): string {
  const full = Math.round(Math.min(1, Math.max(0, share)) * BAR_WIDTH);
  return "█".repeat(full) + "░".repeat(BAR_WIDTH - full);
}
