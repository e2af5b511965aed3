/** A reporter of Node's test runner: the path of each file in which something failed, a line each, for who gives it another try. */
interface Event {
  readonly type: string;
  readonly data: { readonly file?: string; readonly success?: boolean };
}

export default async function* failedFiles(events: AsyncIterable<Event>): AsyncGenerator<string> {
  for await (const { type, data } of events)
    if (type === "test:summary" && data.success === false && data.file !== undefined) yield `${data.file}\n`;
}
