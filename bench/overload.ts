/** Load beyond what can be stored: the most that can be, found with a closed loop, and an open loop of twice as much. */
import type { LoadOptions, LoadResult } from "./load-generator.ts";
import { load, loadBeyond, type Platform } from "./processes.ts";

export const EVENTS_PER_REQUEST = 100;
export const OVERLOAD = 2;
/** Enough that more requests may be under way than are done in the second that the door lets wait. */
export const OPEN_CONNECTIONS = 4_000;
const CLOSED_CONNECTIONS = 64;
/** For the door to take the connections in, which is no part of what is measured. */
const OPENING_MS = 4_000;

/** As much as comes through when every sender waits for its answer. */
export function mostStored(platform: Platform, seconds: number, sender: number): Promise<LoadResult> {
  return load(platform, {
    connections: CLOSED_CONNECTIONS,
    eventsPerRequest: EVENTS_PER_REQUEST,
    durationMs: seconds * 1000,
    sender,
  });
}

/** Requests at a steady rate from senders that neither wait for each other nor heed Retry-After. */
export function openLoop(platform: Platform, options: Partial<LoadOptions>): Promise<LoadResult> {
  return loadBeyond(platform, {
    connections: OPEN_CONNECTIONS,
    eventsPerRequest: EVENTS_PER_REQUEST,
    oneAtATime: true,
    warmupMs: OPENING_MS,
    ...options,
  });
}

export function refusals({ statuses, unsent, requests, retryAfterS, seconds }: LoadResult): string {
  const offered = Math.round((requests + unsent) / seconds);
  const counts = Object.entries(statuses).map(([status, count]) => `${status}: ${count}`);
  return `${offered} requests a second offered; ${counts.join(", ")}; ${unsent} found every connection waiting; Retry-After ${retryAfterS.least} to ${retryAfterS.most} s`;
}
