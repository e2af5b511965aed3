import type { WorkerView } from "../serve/workers-route.ts";
import { type Command, PLATFORM_OPTIONS } from "./command.ts";
import { connect } from "./connect.ts";
import { drawTable } from "./draw-table.ts";
import { elapsedText } from "./quantity-text.ts";
import { printJson } from "./terminal.ts";

/** As the HTTP API gives it: moments are text. */
type Answer = {
  readonly workers: readonly (Omit<WorkerView, "startedAt" | "heartbeatAt"> & {
    readonly startedAt: string;
    readonly heartbeatAt: string;
    readonly self: boolean;
  })[];
};

export const workers: Command = {
  name: "workers",
  summary: "List the processes that share the work: what each does, where it is reached, which partitions are its own.",
  operands: "",
  operandCount: { min: 0, max: 0 },
  options: PLATFORM_OPTIONS,
  help: `
  millrace workers

Exit code 1 while one of them has not been heard of for some seconds.`,

  async run(call) {
    const { terminal, flags } = call;
    const client = connect(call);
    try {
      const answer = await client.json<Answer>("/v1/workers");
      if (flags.has("json")) printJson(terminal, answer);
      else terminal.stdout.write(draw(answer, Date.now()));
      return answer.workers.every(({ live }) => live) ? 0 : 1;
    } finally {
      client.close();
    }
  },
};

function draw({ workers }: Answer, nowMs: number): string {
  const columns = ["worker", "roles", "url", "version", "up", "heard of", "partitions"].map((name) => ({ name }));
  const ago = (moment: string) => elapsedText(Math.max(0, nowMs - Date.parse(moment)));
  const rows = workers.map(({ id, roles, url, version, startedAt, heartbeatAt, live, owns }) => [
    id,
    roles.join(", "),
    url === "" ? "starting" : url,
    version,
    ago(startedAt),
    `${ago(heartbeatAt)} ago${live ? "" : " (gone?)"}`,
    partitionsText(owns),
  ]);
  return drawTable(columns, rows);
}

/** `flow: 12, react: 8` */
function partitionsText(owns: WorkerView["owns"]): string {
  const counts = Object.entries(owns).map(([group, streams]): [string, number] => [
    group,
    Object.values(streams).reduce((sum, partitions) => sum + partitions.length, 0),
  ]);
  return counts.map(([group, count]) => `${group}: ${count}`).join(", ");
}
