import { once } from "node:events";
import { Analytics } from "@segment/analytics-node";
import { SendingError } from "./access.ts";
import type { AppMessage, Device, Platform } from "./happening.ts";

/** Large against what an app sends at once, for one process sends for thousands of them. */
const BATCH_MESSAGES = 200;
/** Every so many requests the answer is lost on the way, and the SDK sends the batch again. */
const LOST_ANSWER_EVERY = 20;
/** Bounds the memory while the platform asks to wait. */
const MOST_UNDER_WAY = 4_000;

/**
 * The apps on web, iOS, Android, desktop and in chats, each message sent by Segment's own SDK for Node. The SDK takes the clock of its machine to be
 * right; devices whose clock is wrong have one of their own, which says a wrong time for everything it stamps.
 */
export class Apps {
  readonly #clients = new Map<number, Analytics>();
  readonly #url: string;
  readonly #writeKey: string;
  readonly #cutOff: Promise<void>;
  #requests = 0;
  #underWay = 0;
  #wake: (() => void) | undefined;
  #failure: Error | undefined;
  /** Messages that the platform has acknowledged, and those that were sent once more. */
  acknowledged = 0;
  resent = 0;

  /** `signal` ends all waiting. */
  constructor(url: string, writeKey: string, signal: AbortSignal) {
    this.#url = url;
    this.#writeKey = writeKey;
    this.#cutOff = once(signal, "abort").then(() => {
      this.#failure ??= new SendingError("it was told to stop");
      this.#wake?.();
    });
  }

  /** Hands a message to its SDK and calls back once the platform has it. Resolves when more can be taken. Rejects when a message was given up. */
  async send(message: AppMessage, onAcknowledged: () => void): Promise<void> {
    if (this.#underWay >= MOST_UNDER_WAY) await new Promise<void>((resolve) => (this.#wake = resolve));
    if (this.#failure !== undefined) throw this.#failure;
    this.#underWay++;
    this.#call(message, (error) => {
      this.#underWay--;
      if (error !== undefined) this.#failure ??= new SendingError(`the SDK gave up a message: ${reasonOf(error)}`);
      else {
        this.acknowledged++;
        onAcknowledged();
      }
      if (this.#underWay < MOST_UNDER_WAY) this.#wake?.();
    });
  }

  /** Sends what waits and resolves when all of it is answered. Rejects when a message was given up. */
  async close(): Promise<void> {
    const closed = Promise.all([...this.#clients.values()].map((client) => client.closeAndFlush()));
    await Promise.race([closed, this.#cutOff]);
    if (this.#failure !== undefined) throw this.#failure;
  }

  #call(message: AppMessage, callback: (error: unknown) => void): void {
    const { type, name, device, userId, previousId, properties, atMs, messageId } = message;
    const client = this.#client(device.clockOffsetMs);
    const shared = {
      messageId,
      timestamp: new Date(atMs + device.clockOffsetMs),
      context: contextOf(message),
      ...identityOf(device, userId),
    };
    switch (type) {
      case "track":
        client.track({ ...shared, event: name, properties }, callback);
        break;
      case "page":
        client.page({ ...shared, name, properties }, callback);
        break;
      case "screen":
        client.screen({ ...shared, name, properties }, callback);
        break;
      case "identify":
        client.identify({ ...shared, traits: properties }, callback);
        break;
      case "alias":
        client.alias({ ...shared, userId: userId ?? "", previousId: previousId ?? "" }, callback);
        break;
    }
  }

  #client(clockOffsetMs: number): Analytics {
    let client = this.#clients.get(clockOffsetMs);
    if (client === undefined) {
      client = new Analytics({
        writeKey: this.#writeKey,
        host: this.#url,
        flushAt: BATCH_MESSAGES,
        flushInterval: 250,
        httpRequestTimeout: 60_000,
        httpClient: (url, request) => this.#post(url, { ...request, body: shiftClock(request.body, clockOffsetMs) }),
      });
      this.#clients.set(clockOffsetMs, client);
    }
    return client;
  }

  async #post(
    url: string,
    request: { method: string; headers: Record<string, string>; body: string; signal: AbortSignal },
  ) {
    const response = await fetch(url, request);
    await response.arrayBuffer();
    if (++this.#requests % LOST_ANSWER_EVERY === 5 && response.ok) {
      this.resent += request.body.split('"messageId":').length - 1;
      throw new Error("the answer was lost");
    }
    return response;
  }
}

/** The SDK ends a batch with the time at which it sends it. */
function shiftClock(body: string, offsetMs: number): string {
  if (offsetMs === 0) return body;
  return body.replace(
    /"sentAt":"([^"]+)"\}$/,
    (_, sentAt: string) => `"sentAt":"${new Date(Date.parse(sentAt) + offsetMs).toISOString()}"}`,
  );
}

function identityOf({ anonymousId }: Device, userId: string | undefined) {
  if (userId !== undefined) return { userId, ...(anonymousId === undefined ? {} : { anonymousId }) };
  return { anonymousId: anonymousId as string };
}

const SYSTEMS: Readonly<
  Partial<Record<Platform, { os: { name: string; version: string }; device: { type: string; model: string } }>>
> = {
  ios: { os: { name: "iOS", version: "18.5" }, device: { type: "ios", model: "iPhone17,1" } },
  android: { os: { name: "Android", version: "16" }, device: { type: "android", model: "Pixel 10" } },
  desktop: { os: { name: "macOS", version: "15.5" }, device: { type: "desktop", model: "Mac16,8" } },
};

function contextOf({ device, appVersion, type, name, properties }: AppMessage) {
  return {
    app: { name: device.platform, version: appVersion },
    ...(device.userAgent === undefined ? {} : { userAgent: device.userAgent }),
    ...(type === "page" ? { page: { ...properties, title: name } } : {}),
    ...SYSTEMS[device.platform],
  };
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : JSON.stringify(error);
}
