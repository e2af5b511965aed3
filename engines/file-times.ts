/**
 * A reporter of Node's test runner: how long each file took, as it ends. Paths of those in which all went well go to the file that `PASSED_FILES`
 * names, a line each: a file that is ended on its way is in no list.
 */
import { appendFileSync } from "node:fs";
import { relative } from "node:path";

interface Event {
  readonly type: string;
  readonly data: { readonly file?: string; readonly duration_ms?: number; readonly success?: boolean };
}

export default async function* fileTimes(events: AsyncIterable<Event>): AsyncGenerator<string> {
  const list = process.env["PASSED_FILES"];
  for await (const { type, data } of events) {
    // The last summary is of all files together.
    if (type !== "test:summary") continue;
    const isFailed = data.success === false;
    if (!isFailed && data.file !== undefined && list !== undefined) appendFileSync(list, `${data.file}\n`);
    const what = data.file === undefined ? "all files" : relative(process.cwd(), data.file);
    yield `${what}: ${((data.duration_ms ?? 0) / 1000).toFixed(0)} s${isFailed ? ", failed" : ""}\n`;
  }
}
