import type { Definition } from "../../src/define/definition.ts";
import type { Stream } from "../../src/define/project.ts";
import { readStream } from "../../src/define/read-stream.ts";
import { type SegmentOptions, segment } from "../../src/define/segment.ts";

/** The stream of `segment("app", options)`, as a loaded project has it. */
export function segmentStream(options: SegmentOptions = {}, name = "app"): Stream {
  const [definition] = segment(name, options);
  const read = readStream(definition as Definition, "app.ts", 1_000);
  if (!("columns" in read)) throw new Error(JSON.stringify(read));
  return read;
}

/** The least that is a message. */
export function message(fields: Record<string, unknown> = {}): Record<string, unknown> {
  return { type: "track", event: "Clicked", userId: "u1", messageId: "m1", ...fields };
}
