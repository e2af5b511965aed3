import { textWidth } from "./draw-table.ts";
import type { Output } from "./terminal.ts";

/**
 * Lines at the end of a terminal that are drawn again in place. Other text goes above them. Where nobody watches, nothing is
 * drawn; callers print plain lines there.
 */
export class LiveBlock {
  readonly #output: Output;
  #drawn: string[] = [];

  constructor(output: Output) {
    this.#output = output;
  }

  draw(lines: readonly string[]): void {
    const width = this.#output.columns ?? 80;
    // A line that wraps would take two rows, and the way back up would be miscounted.
    const fitting = lines.map((line) => (textWidth(line) < width ? line : `${line.slice(0, width - 2)}…`));
    this.#output.write(`${this.#erase()}${fitting.map((line) => `${line}\n`).join("")}`);
    this.#drawn = fitting;
  }

  /** Writes text above the block, which stays. */
  above(text: string): void {
    const block = this.#drawn.map((line) => `${line}\n`).join("");
    this.#output.write(`${this.#erase()}${text}${block}`);
  }

  /** Takes the block away. */
  clear(): void {
    this.#output.write(this.#erase());
    this.#drawn = [];
  }

  #erase(): string {
    return this.#drawn.length === 0 ? "" : `\u001b[${this.#drawn.length}A\u001b[0J`;
  }
}
