import type { PlatformStatus, TableStatus } from "../serve/admin-route.ts";
import { type Command, PLATFORM_OPTIONS } from "./command.ts";
import { connect } from "./connect.ts";
import { drawTable } from "./draw-table.ts";
import { bytesText, countText, elapsedText } from "./quantity-text.ts";
import { printJson, styled } from "./terminal.ts";

export const status: Command = {
  name: "status",
  summary: "Show how a running platform is: what comes in, what is stored, and whether anything is wrong.",
  operands: "",
  operandCount: { min: 0, max: 0 },
  options: PLATFORM_OPTIONS,
  help: "Exit code 1 when the platform is not ready to take and store events.",

  async run(call) {
    const { terminal, flags } = call;
    const client = connect(call);
    try {
      const answer = await client.json<PlatformStatus>("/v1/status");
      if (flags.has("json")) printJson(terminal, answer);
      else terminal.stdout.write(describe(answer, client.url, Date.now(), (text) => styled(terminal, "bold", text)));
      return answer.ready ? 0 : 1;
    } finally {
      client.close();
    }
  },
};

function describe(answer: PlatformStatus, url: string, nowMs: number, strong: (text: string) => string): string {
  const { door } = answer;
  const lines = [
    `${strong(answer.project)} at ${url}, Millrace ${answer.version}, up ${elapsedText(answer.uptimeMs)}, ${bytesText(answer.residentBytes)} of memory`,
    [answer.ready ? "ready" : "NOT READY", answer.problems.join("; ")].filter((text) => text !== "").join(": "),
    `door: ${countText(door.eventsPerSecond)} events/s; since the start ${countText(door.accepted)} accepted, ${countText(door.rejected)} rejected`,
    "",
  ];
  const functions = answer.functions.length === 0 ? "" : `${drawFunctions(answer)}\n`;
  return `${lines.join("\n")}${drawStreams(answer)}\n${functions}${drawTables(answer.tables, nowMs)}`;
}

function drawFunctions({ functions }: PlatformStatus): string {
  const right = new Set(["handled", "dead letters", "emitted", "pending"]);
  const columns = ["function", "stream", "handled", "dead letters", "emitted", "pending"].map((name) => ({
    name,
    align: right.has(name) ? ("right" as const) : ("left" as const),
  }));
  const rows = functions.map((one) => [
    one.name,
    one.stream,
    ...[one.handled, one.deadLettered, one.emitted, one.pending].map(countText),
  ]);
  return drawTable(columns, rows);
}

function drawStreams({ streams }: PlatformStatus): string {
  const columns = ["stream", "accepted", "duplicates", "rejected", "pending"].map((name, i) => ({
    name,
    align: i === 0 ? ("left" as const) : ("right" as const),
  }));
  const rows = streams.map((stream) => [
    stream.name,
    ...[stream.accepted, stream.duplicates, stream.rejected, stream.pending].map(countText),
  ]);
  return drawTable(columns, rows);
}

/** Tables with their size and when they last got new rows. */
export function drawTables(tables: readonly TableStatus[], nowMs: number): string {
  const right = new Set(["rows", "files", "size", "version", "committed"]);
  const columns = ["table", "mode", "rows", "files", "size", "version", "committed"].map((name) => ({
    name,
    align: right.has(name) ? ("right" as const) : ("left" as const),
  }));
  const rows = tables.map((table) => [
    table.name,
    table.mode,
    countText(table.rows),
    countText(table.files),
    bytesText(table.bytes),
    table.version < 0 ? null : table.version,
    table.committedAtMs === null ? null : `${elapsedText(Math.max(0, nowMs - table.committedAtMs))} ago`,
  ]);
  return drawTable(columns, rows);
}
