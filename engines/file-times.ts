/** A reporter of Node's test runner: how long each file took, as it ends. */
import { relative } from "node:path";

interface Event {
  readonly type: string;
  readonly data: { readonly file?: string; readonly duration_ms?: number; readonly success?: boolean };
}

export default async function* fileTimes(events: AsyncIterable<Event>): AsyncGenerator<string> {
  for await (const { type, data } of events) {
    // The last summary is of all files together.
    if (type !== "test:summary") continue;
    const what = data.file === undefined ? "all files" : relative(process.cwd(), data.file);
    yield `${what}: ${((data.duration_ms ?? 0) / 1000).toFixed(0)} s${data.success === false ? ", failed" : ""}\n`;
  }
}
