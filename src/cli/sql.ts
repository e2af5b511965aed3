import { createReadStream } from "node:fs";
import { type Call, type Command, PLATFORM_OPTIONS, wrongUsage } from "./command.ts";
import { connect } from "./connect.ts";
import { drawTable } from "./draw-table.ts";
import { wholeText } from "./http-client.ts";
import { countText, elapsedText } from "./quantity-text.ts";
import { styled } from "./terminal.ts";

/** What `POST /v1/sql` answers. */
export interface SqlAnswer {
  readonly columns: readonly { readonly name: string; readonly type: string }[];
  readonly rows: readonly (readonly unknown[])[];
  readonly rowCount: number;
  readonly elapsedMs: number;
  /** True when there would have been more rows. */
  readonly truncated?: boolean;
}

export const sql: Command = {
  name: "sql",
  summary: "Run one SELECT over streams and tables, fresh to the last acknowledged event.",
  operands: '"SELECT …"',
  operandCount: { min: 0, max: 1 },
  options: {
    file: {
      type: "string",
      short: "f",
      value: "FILE",
      doc: "Read the statement from a file; - is the standard input.",
    },
    param: {
      type: "string",
      short: "p",
      value: "VALUE",
      multiple: true,
      doc: "A value for $1, $2…; JSON where it is JSON, else text.",
    },
    csv: { type: "boolean", doc: "Answer in CSV with a header line." },
    ndjson: { type: "boolean", doc: "Answer one JSON object per line." },
    ...PLATFORM_OPTIONS,
  },
  help: `
  millrace sql "select * from gold.sales_daily order by day desc limit 5"
  millrace sql "select count(*) from orders where country = $1" --param DE
  millrace sql --file report.sql --csv > report.csv

A table that is wider than the terminal is cut (…); written into a file or a pipe it is whole.`,

  async run(call) {
    const { flags, terminal } = call;
    const statement = await readStatement(call);
    const client = connect(call);
    try {
      const body = { sql: statement, params: flags.texts("param").map(parameter) };
      const accept = flags.has("csv") ? "text/csv" : flags.has("ndjson") ? "application/x-ndjson" : undefined;
      if (accept !== undefined) {
        const response = await client.open("/v1/sql", { body, headers: { accept } });
        for await (const chunk of response) terminal.stdout.write(chunk as Uint8Array);
        return 0;
      }
      if (flags.has("json")) {
        terminal.stdout.write(`${(await wholeText(await client.open("/v1/sql", { body }))).trimEnd()}\n`);
        return 0;
      }
      terminal.stdout.write(drawAnswer(call, await client.json<SqlAnswer>("/v1/sql", { body })));
      return 0;
    } finally {
      client.close();
    }
  },
};

/** The answer as a table, and a line that says how much it is and how long it took. */
export function drawAnswer({ terminal }: Pick<Call, "terminal">, answer: SqlAnswer): string {
  const columns = answer.columns.map(({ name, type }) => ({
    name,
    align: isNumber(type) ? ("right" as const) : ("left" as const),
  }));
  const table = drawTable(columns, answer.rows, terminal.stdout.isTTY ? (terminal.stdout.columns ?? 80) : undefined);
  const rows = answer.rowCount === 1 ? "1 row" : `${countText(answer.rowCount)} rows`;
  const more = answer.truncated ? ", cut at the platform's limit of rows" : "";
  return `${table}${styled(terminal, "dim", `${rows} in ${elapsedText(answer.elapsedMs)}${more}`)}\n`;
}

const NUMBERS = /^(byte|short|integer|long|float|double|decimal|tinyint|smallint|bigint|hugeint|u?int|real)/i;

function isNumber(type: string): boolean {
  return NUMBERS.test(type);
}

async function readStatement({ operands, flags, terminal }: Call): Promise<string> {
  const file = flags.text("file") ?? (operands[0] === "-" ? "-" : undefined);
  if (file !== undefined && operands[0] !== undefined && operands[0] !== "-") {
    throw wrongUsage(sql, "the statement is given twice, as text and as a file");
  }
  const text =
    file === undefined ? operands[0] : await wholeText(file === "-" ? terminal.stdin : createReadStream(file));
  if (text === undefined || text.trim() === "") throw wrongUsage(sql, "there is no statement");
  return text;
}

function parameter(text: string): unknown {
  // Numbers, true, false and null mean what they say; anything else is text, quoted or not.
  return /^(-?\d+(\.\d+)?([eE][+-]?\d+)?|true|false|null|".*")$/s.test(text) && isJson(text) ? JSON.parse(text) : text;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
