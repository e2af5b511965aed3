import * as z from "zod";
import { MillraceError } from "../errors.ts";
import { type Definition, define } from "./definition.ts";
import { MESSAGES } from "./segment-rules.ts";
import { segmentTables } from "./segment-tables.ts";
import type { TrackingPlan } from "./tracking-plan.ts";

export interface SegmentOptions {
  /** What may be tracked, from `trackingPlan(json)`: each planned event gets a typed table, and is held to its schema. */
  readonly plan?: TrackingPlan;
  /** How long a `messageId` is remembered: `7d` (the default), `36h`. */
  readonly horizon?: string;
  /** Number of partitions; the `messageId` decides which. Default: the setting `partitions`. */
  readonly partitions?: number;
}

/** The types of message that Segment's SDKs send. */
export const SEGMENT_TYPES = ["track", "identify", "page", "screen", "group", "alias"] as const;

const text = () => z.string().nullish();
const free = () => z.json().optional();

/**
 * A message as it is stored: as the SDK sent it, with what its batch said about all of them (`sentAt`, `context`, `integrations`), the
 * type that the path said, a `messageId`, and without the write key.
 */
const MESSAGE = z.object({
  type: z.enum(SEGMENT_TYPES),
  messageId: z.string().min(1),
  anonymousId: text(),
  userId: text(),
  event: text(),
  name: text(),
  category: text(),
  groupId: text(),
  previousId: text(),
  timestamp: text(),
  originalTimestamp: text(),
  sentAt: text(),
  context: free(),
  properties: free(),
  traits: free(),
  integrations: free(),
  /** In which way the message is not as the tracking plan has it, where the plan only flags that. */
  planViolation: text(),
});

/**
 * Defines a source of Segment's messages: `export const app = segment("app")`.
 *
 * Segment's SDKs send to it with a write key of its own (`millrace keys create --name web --scopes write:app`). All messages are one stream,
 * `app`, so that they keep their order and sessions see all of them. `silver.app` has them typed, with the columns of Segment's own
 * warehouse schema (`id, type, user_id, anonymous_id, timestamp, context_page_path …`); beside it stand `app.tracks`, `app.identifies`,
 * `app.pages`, `app.screens`, `app.groups` and `app.aliases`, and one table per event of the tracking plan.
 *
 * The name is that of a stream, and becomes the schema of these tables. Mistakes are reported when the project loads.
 */
export function segment(name: string, options: SegmentOptions = {}): readonly Definition[] {
  const { plan, ...others } = options;
  if (plan !== undefined && !Array.isArray(plan?.events))
    throw new MillraceError("PLAN_INVALID", {
      reason: `the option plan of segment("${name}") is not what trackingPlan gives`,
    });
  const stream = { ...others, schema: MESSAGE, id: ["messageId"], [MESSAGES]: plan === undefined ? {} : { plan } };
  const tables = segmentTables(name, plan).map(([table, sql]) => define("table", table, { sql }, segment));
  return Object.freeze([define("stream", name, stream, segment), ...tables]);
}
