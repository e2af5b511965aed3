import type { PlatformStatus } from "../serve/admin-route.ts";
import { drawTable } from "./draw-table.ts";
import { LiveBlock } from "./live-block.ts";
import { countText, elapsedText } from "./quantity-text.ts";
import type { Output } from "./terminal.ts";

/** How often the summary is told: drawn in place for people, as a line for logs. */
const REDRAW_MS = 2_000;
const LINE_MS = 5_000;

/** The calm summary of a running platform: one block that is drawn again in place, or plain lines where nobody watches. */
export class StartSummary {
  readonly everyMs: number;
  readonly #output: Output;
  readonly #block: LiveBlock | undefined;
  /** What the last line said, without its time: a log has no use for the same line again. */
  #said = "";
  #before = { atMs: Date.now(), accepted: 0 };

  constructor(output: Output) {
    this.#output = output;
    this.#block = output.isTTY ? new LiveBlock(output) : undefined;
    this.everyMs = this.#block === undefined ? LINE_MS : REDRAW_MS;
  }

  show(status: PlatformStatus, nowMs: number): void {
    const perSecond = this.#rate(status.door.accepted, nowMs);
    const duplicates = status.streams.reduce((sum, stream) => sum + stream.duplicates, 0);
    const door =
      `${countText(perSecond)} events/s in, ${countText(status.door.accepted)} accepted, ` +
      `${countText(status.door.rejected)} rejected, ${countText(duplicates)} duplicates`;
    const state = status.ready ? "" : `  NOT READY: ${status.problems.join("; ")}`;
    if (this.#block === undefined) {
      const rows = status.tables
        .filter((table) => table.rows > 0)
        .map((table) => `${table.name} ${countText(table.rows)}`);
      const line = `${door}${state}; rows: ${rows.join(", ") || "none yet"}`;
      if (line !== this.#said) this.#output.write(`${elapsedText(status.uptimeMs)}: ${line}\n`);
      this.#said = line;
      return;
    }
    const tables = drawTable(
      [{ name: "table" }, { name: "rows", align: "right" }, { name: "committed", align: "right" }],
      status.tables.map((table) => [table.name, countText(table.rows), freshness(table.committedAtMs, nowMs)]),
    );
    this.#block.draw(["", `up ${elapsedText(status.uptimeMs)}: ${door}${state}`, "", ...tables.trimEnd().split("\n")]);
  }

  /** A remark that stays. */
  note(text: string): void {
    if (this.#block === undefined) this.#output.write(`${text}\n`);
    else this.#block.above(`${text}\n`);
  }

  /** Of the last interval, for what happens now; the platform's own figure is over a longer time. */
  #rate(accepted: number, nowMs: number): number {
    const before = this.#before;
    this.#before = { atMs: nowMs, accepted };
    return ((accepted - before.accepted) / Math.max(1, nowMs - before.atMs)) * 1_000;
  }
}

function freshness(committedAtMs: number | null, nowMs: number): string | null {
  return committedAtMs === null ? null : `${elapsedText(Math.max(0, nowMs - committedAtMs))} ago`;
}
