import type { Readable } from "node:stream";
import { StringDecoder } from "node:string_decoder";

/**
 * Tells each line of a stream of UTF-8 text, without its end. One that is longer than `mostCharacters` is told in pieces of that length: a
 * process that never ends its line must not fill the platform's memory.
 */
export function eachLine(source: Readable, mostCharacters: number, tell: (line: string) => void): void {
  const decoder = new StringDecoder("utf8");
  let open = "";
  const take = (text: string) => {
    const lines = (open + text).split("\n");
    open = lines.pop() ?? "";
    for (const line of lines) tell(line.endsWith("\r") ? line.slice(0, -1) : line);
    for (; open.length > mostCharacters; open = open.slice(mostCharacters)) tell(open.slice(0, mostCharacters));
  };
  source.on("data", (piece: Buffer) => take(decoder.write(piece)));
  source.on("end", () => {
    take(decoder.end());
    if (open !== "") tell(open);
  });
}
