import type { Stream } from "../../src/define/project.ts";
import { streamOf } from "./open-door.ts";

/** A small stream for the door's tests: `{"id":"a","n":1}`. */
export const orders: Stream = streamOf(
  "orders",
  {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    type: "object",
    properties: {
      id: { type: "string", minLength: 1 },
      n: { type: "number", minimum: 0 },
      at: { type: "string", format: "date-time" },
      note: { type: ["string", "null"] },
    },
    required: ["id", "n"],
  },
  [
    { name: "id", type: { kind: "string" }, nullable: false },
    { name: "n", type: { kind: "double" }, nullable: false },
    { name: "at", type: { kind: "timestamp" }, nullable: true },
    { name: "note", type: { kind: "string" }, nullable: true },
  ],
  { id: ["id"] },
);

/** A stream that takes any JSON in its field `v`. */
export const anything: Stream = streamOf("anything", { type: "object", properties: { v: {} }, required: ["v"] }, [
  { name: "v", type: { kind: "json" }, nullable: true },
]);

export const NDJSON = "application/x-ndjson";
