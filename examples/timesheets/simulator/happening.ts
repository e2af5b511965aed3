/** What the simulated users do, one thing at a time, and which of their programs tells the platform of it. */

export const PLATFORMS = ["web", "ios", "android", "desktop", "chat"] as const;
export type Platform = (typeof PLATFORMS)[number];

/** An installation of the app: a browser, a phone, a computer, an account in a chat. */
export interface Device {
  /** Undefined in a chat, where every message says whose it is. */
  readonly anonymousId: string | undefined;
  readonly platform: Platform;
  /** Days by which it gets a new version later than others. */
  readonly updatesAfterDays: number;
  /** How far its clock is ahead; mostly 0. */
  readonly clockOffsetMs: number;
  readonly userAgent: string | undefined;
  /** Signed in: later messages carry the user's id. */
  userId: string | undefined;
}

interface HappeningBase {
  /** When it really happened. */
  readonly atMs: number;
  /** When the device could send it; later than `atMs` where it was offline. */
  readonly arrivesMs: number;
  /** Who it really was: one number for one human being, whatever ids and devices they have. Robots have negative ones. */
  readonly person: number;
}

/** A message of Segment's vocabulary, from one of the apps. */
export interface AppMessage extends HappeningBase {
  readonly sender: "app";
  /** One stay of the person in the app: number of it among all of theirs. */
  readonly visit: number;
  readonly type: "track" | "identify" | "page" | "screen" | "alias";
  readonly messageId: string;
  /** Name of the event, page or screen. */
  readonly name: string;
  readonly device: Device;
  /** As the device knew it then. */
  readonly userId: string | undefined;
  readonly previousId: string | undefined;
  readonly appVersion: string;
  readonly properties: Readonly<Record<string, string | number>>;
}

/** A record of the back end. */
export interface BackendRecord extends HappeningBase {
  readonly sender: "backend";
  readonly stream: "projects" | "time_entries";
  readonly fields: Readonly<Record<string, string | number | boolean>>;
  /** Breaks a check of its table, as a bug would. */
  readonly isBroken: boolean;
}

export type Happening = AppMessage | BackendRecord;
