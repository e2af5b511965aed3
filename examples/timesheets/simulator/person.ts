import type { Random } from "../../simulation/random.ts";
import type { AppMessage, BackendRecord, Device, Happening, Platform } from "./happening.ts";
import { appVersion, CLIENTS, PROJECT_NAMES, REFERRERS, REPORTS, TAGS, USER_AGENTS } from "./product.ts";

/** Tempo of a visit: how many seconds lie between two things a person does. */
export interface Pace {
  readonly fromSeconds: number;
  readonly toSeconds: number;
}

export const HISTORY_PACE: Pace = { fromSeconds: 4, toSeconds: 90 };
export const LIVE_PACE: Pace = { fromSeconds: 0.1, toSeconds: 0.8 };

/** Visits of one person are further apart than the gap that ends a session (30 minutes), and what they do within one is closer. */
export const APART_MS = 45 * 60_000;
const READING_SECONDS = [300, 840] as const;
/** A timer that nobody stopped is cut off after a working day. */
const FORGOTTEN_MS = 10 * 3_600_000;

interface Entry {
  readonly id: string;
  readonly project: Project;
  readonly startedMs: number;
  readonly endedMs: number;
}

interface Timer {
  readonly id: string;
  readonly project: Project;
  readonly startedMs: number;
}

interface Project {
  readonly id: string;
  readonly isBillable: boolean;
}

/**
 * Somebody who may come to use the time tracker: looks around unknown, signs up, creates a project, starts and stops timers, looks at reports,
 * gets a second device, and one day stays away. `visit` is one stay; what it does depends on how far the person has come.
 */
export class Person {
  readonly number: number;
  readonly zone: string;
  /** Chance of working with it on a weekday, and of leaving for good after a day with it. */
  readonly diligence: number;
  readonly leaving: number;
  readonly #random: Random;
  readonly #devices: Device[] = [];
  readonly #name: string;
  readonly #startMs: number;
  readonly #willSignUp: boolean;
  readonly #isInEarnest: boolean;
  #lastVisitEndMs = Number.NEGATIVE_INFINITY;
  #visits = 0;
  #messages = 0;
  #records = 0;
  #userId: string | undefined;
  #projects: Project[] = [];
  #timer: Timer | undefined;
  #last: Entry | undefined;

  /** `startMs`: when the product began, by which versions are counted. */
  constructor(number: number, zone: string, random: Random, startMs: number) {
    this.number = number;
    this.zone = zone;
    this.#random = random;
    this.#startMs = startMs;
    this.#name = `${number.toString(36)}-${random.below(0x7fffffff).toString(36)}`;
    this.diligence = random.between(0.25, 0.95);
    // Some only have a look at the product, and are gone.
    this.#isInEarnest = random.chance(0.72);
    this.leaving = this.#isInEarnest ? random.between(0.01, 0.12) : random.between(0.3, 0.8);
    this.#willSignUp = random.chance(0.62);
    this.#devices.push(this.#device());
    if (random.chance(0.35)) this.#devices.push(this.#device());
    if (random.chance(0.12)) this.#devices.push(this.#device("chat"));
  }

  get isSignedUp(): boolean {
    return this.#userId !== undefined;
  }

  /** From when on a visit is one of its own. */
  get freeFromMs(): number {
    return this.#lastVisitEndMs + APART_MS;
  }

  /** What the person does in a visit that begins then. It ends before `untilMs`, which is at least a minute away, however much there is to do. */
  visit(startMs: number, untilMs: number, pace: Pace): Happening[] {
    const random = this.#random;
    const device = this.#pickDevice();
    const done: Happening[] = [];
    const isOffline = (device.platform === "ios" || device.platform === "android") && random.chance(0.05);
    const offlineMs = isOffline ? Math.round(random.between(0.5, 48) * 3_600_000) : 0;
    const visit = this.#visits++;
    let atMs = startMs;
    const base = () => ({ person: this.number, atMs, arrivesMs: atMs + offlineMs });
    const say: Stay["say"] = (type, name, properties = {}, previousId) => {
      const isReading = pace === HISTORY_PACE && random.chance(0.04);
      const [from, to] = isReading ? READING_SECONDS : [pace.fromSeconds, pace.toSeconds];
      const stepMs = Math.min(random.between(from, to) * 1000, (untilMs - atMs) / 20);
      atMs = awayFromMidnight(Math.round(atMs + stepMs));
      done.push({
        ...base(),
        sender: "app",
        visit,
        type,
        messageId: `${this.#name}-m${this.#messages++}`,
        name,
        device,
        userId: device.userId,
        previousId,
        appVersion: appVersion(device.platform, (atMs - this.#startMs) / 86_400_000 - device.updatesAfterDays),
        properties,
      });
    };
    this.#act({
      device,
      say,
      see(name) {
        if (device.platform === "ios" || device.platform === "android") say("screen", name);
        else if (device.platform !== "chat") {
          const path = `/${name.toLowerCase().replaceAll(" ", "-")}`;
          const isLinked = name === "Welcome" && random.chance(0.6);
          say("page", name, isLinked ? { path, referrer: random.pick(REFERRERS) } : { path });
        }
      },
      record: (stream, fields, isBroken = false) =>
        void done.push({ ...base(), sender: "backend", stream, fields, isBroken }),
      now: () => atMs,
    });
    this.#lastVisitEndMs = done.at(-1)?.atMs ?? this.#lastVisitEndMs;
    return done;
  }

  #act(stay: Stay): void {
    const random = this.#random;
    const { device, see, say } = stay;
    if (this.#userId === undefined) {
      see("Welcome");
      for (const name of ["Features", "Pricing"]) if (random.chance(0.45)) see(name);
      if (!this.#willSignUp || random.chance(0.35)) return;
      see("Sign Up");
      // From here on the device knows who this is, and with the first message so does the platform, for what was done before as well.
      device.userId = this.#userId = `u-${this.#name}`;
      say("identify", "", { time_zone: this.zone });
      say("track", "Signed Up", { plan: random.chance(0.3) ? "team" : "free" });
    } else if (device.userId !== this.#userId) {
      see("Sign In");
      device.userId = this.#userId;
      say("identify", "", { time_zone: this.zone });
      say("track", "Signed In");
    } else if (random.chance(0.004)) {
      // A new login: both ids are the same person from now on.
      const before = this.#userId;
      device.userId = this.#userId = `${before}n`;
      say("alias", "", {}, before);
    }
    this.#work(stay);
  }

  #work(stay: Stay): void {
    const random = this.#random;
    const { device, see, say, now } = stay;
    const isChat = device.platform === "chat";
    see("Timesheet");
    if (isChat) say("track", "Bot Command", { command: random.pick(["start", "stop", "status"]) });
    else if (
      this.#isInEarnest &&
      this.#projects.length < 5 &&
      random.chance(this.#projects.length === 0 ? 0.6 : 0.03)
    ) {
      const project = { id: `p-${this.#name}-${this.#projects.length}`, isBillable: random.chance(0.7) };
      say("track", "Project Created", { project_id: project.id });
      this.#projects.push(project);
      const [client, name] = [random.pick(CLIENTS), random.pick(PROJECT_NAMES)];
      stay.record("projects", { project_id: project.id, project: name, client, updated_at: iso(now()) });
    }
    if (this.#timer !== undefined) this.#stopTimer(stay, this.#timer);
    else if (this.#last !== undefined && random.chance(0.06)) this.#edit(stay, this.#last);
    if (this.#timer === undefined && this.#projects.length > 0 && random.chance(0.8)) {
      const project = random.pick(this.#projects);
      const id = `e-${this.#name}-${this.#records++}`;
      say("track", "Timer Started", { entry_id: id, project_id: project.id });
      this.#timer = { id, project, startedMs: now() };
    }
    if (isChat) return;
    if (random.chance(0.1)) say("track", "Tag Added", { tag: random.pick(TAGS) });
    if (this.#last !== undefined && random.chance(0.22)) {
      see("Reports");
      say("track", "Report Viewed", { report: random.pick(REPORTS) });
      if (random.chance(0.2)) say("track", "Invoice Exported", { format: random.pick(["pdf", "csv"]) });
    }
  }

  #stopTimer(stay: Stay, { id, project, startedMs }: Timer): void {
    stay.say("track", "Timer Stopped", { entry_id: id });
    this.#timer = undefined;
    this.#last = { id, project, startedMs, endedMs: Math.min(stay.now(), startedMs + FORGOTTEN_MS) };
    this.#book(stay, this.#last, false);
    if (this.#random.chance(0.01)) this.#bookBroken(stay, this.#last);
  }

  #edit(stay: Stay, entry: Entry): void {
    stay.say("track", "Entry Edited", { entry_id: entry.id });
    const half = { ...entry, endedMs: Math.round((entry.startedMs + entry.endedMs) / 2) };
    const isDeleted = this.#random.chance(0.15);
    this.#last = isDeleted ? undefined : half;
    this.#book(stay, half, isDeleted);
  }

  #book({ record, now }: Stay, entry: Entry, isDeleted: boolean): void {
    record("time_entries", { ...this.#entryFields(entry), deleted: isDeleted, updated_at: iso(now()) });
  }

  /** An old version of the back end lost the end of an entry. */
  #bookBroken({ record, now }: Stay, entry: Entry): void {
    const fields = this.#entryFields({ ...entry, id: `${entry.id}-broken`, endedMs: entry.startedMs - 60_000 });
    record("time_entries", { ...fields, deleted: false, updated_at: iso(now()) }, true);
  }

  #entryFields({ id, project, startedMs, endedMs }: Entry) {
    return {
      entry_id: id,
      user_id: this.#userId as string,
      project_id: project.id,
      started_at: iso(startedMs),
      ended_at: iso(endedMs),
      billable: project.isBillable,
    };
  }

  #pickDevice(): Device {
    // Whoever has no account is somebody else on each device, to everybody but us; that would be no mistake of the platform's.
    const usable = this.isSignedUp ? this.#devices : this.#devices.slice(0, 1);
    const device = usable.length > 1 && this.#random.chance(0.3) ? this.#random.pick(usable) : (usable[0] as Device);
    if (device.platform === "chat") device.userId = this.#userId;
    return device;
  }

  #device(kind?: Platform): Device {
    const random = this.#random;
    const platform =
      kind ?? random.pick(["web", "web", "web", "web", "ios", "ios", "android", "android", "desktop"] as const);
    return {
      anonymousId: platform === "chat" ? undefined : `a-${this.#name}-${this.#devices.length}`,
      platform,
      updatesAfterDays: platform === "web" || platform === "chat" ? 0 : random.between(0, 9),
      clockOffsetMs: platform !== "chat" && random.chance(0.01) ? random.pick(CLOCK_OFFSETS_MS) : 0,
      userAgent: platform === "web" ? random.pick(USER_AGENTS) : undefined,
      userId: undefined,
    };
  }
}

/** Years ahead after a dead battery, the epoch, and a wrong time zone. */
const CLOCK_OFFSETS_MS = [3 * 365 * 86_400_000, -20 * 365 * 86_400_000, 7 * 3_600_000];

interface Stay {
  readonly device: Device;
  /** A page or a screen, whatever the device shows. */
  readonly see: (name: string) => void;
  readonly say: (
    type: AppMessage["type"],
    name: string,
    properties?: AppMessage["properties"],
    previousId?: string,
  ) => void;
  readonly record: (stream: BackendRecord["stream"], fields: BackendRecord["fields"], isBroken?: boolean) => void;
  readonly now: () => number;
}

/**
 * Nothing happens within a minute of midnight (UTC). The platform corrects the time of each message by clocks that differ by the time of the way,
 * and a truth that counts days must not depend on that.
 */
export function awayFromMidnight(ms: number): number {
  const inDay = ((ms % 86_400_000) + 86_400_000) % 86_400_000;
  if (inDay >= 86_340_000) return ms + (86_400_000 - inDay) + 60_000;
  return inDay < 60_000 ? ms + 60_000 - inDay : ms;
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
