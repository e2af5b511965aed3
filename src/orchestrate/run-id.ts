import { randomBytes } from "node:crypto";

/** A UUID of version 7 (RFC 9562, section 5.7): ids in order of time, so that the newest runs are the highest. */
export function newRunId(nowMs: number): string {
  const bytes = randomBytes(16);
  bytes.writeUIntBE(Math.max(0, Math.min(nowMs, 0xffff_ffff_ffff)), 0, 6);
  bytes[6] = (bytes[6]! & 0x0f) | 0x70;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = bytes.toString("hex");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

const RUN_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/** Whether a text can be the id of a run at all; PostgreSQL refuses to compare others. */
export function isRunId(text: string): boolean {
  return RUN_ID.test(text);
}
