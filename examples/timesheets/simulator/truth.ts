import type { AppMessage, BackendRecord, Happening } from "./happening.ts";

/**
 * What really was, counted from people and not from ids: who was active when, how far they came, how long they worked. The platform knows
 * nothing of it and has to come to the same figures by its tables.
 */
export class Truth {
  readonly #active = new Sets();
  readonly #activeInWeek = new Sets();
  readonly #visitors = new Sets();
  readonly #signedUp = new Map<number, number>();
  readonly #reached = new Map<string, Set<number>>();
  readonly #usage = new Map<string, { uses: number; people: Set<number> }>();
  readonly #visits = new Map<string, Visit>();
  readonly #projects = new Map<string, string>();
  readonly #entries = new Map<string, Entry>();

  /** One thing that happened and that the platform has acknowledged. What is sent twice is to be added once. */
  add(happening: Happening): void {
    if (happening.sender === "backend") this.#addRecord(happening);
    else this.#addMessage(happening);
  }

  figures(): Figures {
    const cohorts = Map.groupBy(this.#signedUp.keys(), (person) => weekOf(this.#signedUp.get(person) as number));
    const retention: [string, number, number][] = [];
    for (const [cohort, people] of cohorts) {
      const members = new Set(people);
      for (const [week, active] of this.#activeInWeek.sets) {
        const count = [...active].filter((person) => members.has(person)).length;
        if (count > 0) retention.push([cohort, weeksBetween(cohort, week), count]);
      }
    }
    const funnel = [...cohorts].map(([cohort, people]): Figures["funnel"][number] => {
      const reached = (step: string) => people.filter((person) => this.#reached.get(step)?.has(person)).length;
      return [cohort, people.length, reached("Project Created"), reached("Timer Started"), reached("Report Viewed")];
    });
    const sessions = Map.groupBy(this.#visits.values(), (visit) => `${dayOf(visit.startMs)}|${visit.platform}`);
    const hours = Map.groupBy(
      [...this.#entries.values()].filter(({ isDeleted }) => !isDeleted),
      (entry) => `${dayOf(entry.startedMs)}|${this.#projects.get(entry.project)}`,
    );
    const inOrder = <Row extends readonly unknown[]>(rows: Row[]) =>
      rows.sort((a, b) => (String(a) < String(b) ? -1 : 1));
    return {
      daily: inOrder(
        [...this.#visitors.sets].map(([day, visitors]) => {
          const started = [...this.#signedUp.values()].filter((ms) => dayOf(ms) === day).length;
          return [day, this.#active.sets.get(day)?.size ?? 0, visitors.size, started] as const;
        }),
      ),
      weekly: inOrder([...this.#activeInWeek.sets].map(([week, people]) => [week, people.size] as const)),
      retention: inOrder(retention),
      funnel: inOrder(funnel),
      features: inOrder(
        [...this.#usage].map(
          ([feature, { uses, people }]) =>
            [...(feature.split("|") as [string, string, string, string]), uses, people.size] as const,
        ),
      ),
      hours: inOrder(
        [...hours].map(([key, entries]) => {
          const [day, client, project] = key.split("|") as [string, string, string];
          return [
            day,
            client,
            project,
            entries.length,
            sum(entries.map((e) => e.endedMs - e.startedMs)),
            sum(entries.map((e) => (e.isBillable ? e.endedMs - e.startedMs : 0))),
          ] as const;
        }),
      ),
      sessions: inOrder(
        [...sessions].map(([key, visits]) => {
          const [day, platform] = key.split("|") as [string, string];
          const events = sum(visits.map((visit) => visit.events));
          const bounces = visits.filter((visit) => visit.events === 1).length;
          return [
            day,
            platform,
            visits.length,
            events,
            bounces,
            sum(visits.map((visit) => visit.endMs - visit.startMs)),
          ] as const;
        }),
      ),
    };
  }

  #addMessage(message: AppMessage): void {
    const { atMs, person, type, name, device, appVersion, visit } = message;
    // Robots are no visitors; names and links of ids are nothing that people do.
    if (person < 0 || type === "identify" || type === "alias") return;
    const day = dayOf(atMs);
    this.#visitors.add(day, person);
    this.#addToVisit(`${person} ${visit}`, atMs, device.platform);
    if (type !== "track") return;
    this.#active.add(day, person);
    this.#activeInWeek.add(weekOf(atMs), person);
    if (name === "Signed Up") this.#signedUp.set(person, atMs);
    const reached = this.#reached.get(name) ?? new Set();
    this.#reached.set(name, reached.add(person));
    const feature = [day, name, device.platform, appVersion].join("|");
    const used = this.#usage.get(feature) ?? { uses: 0, people: new Set() };
    this.#usage.set(feature, { uses: used.uses + 1, people: used.people.add(person) });
  }

  #addToVisit(key: string, atMs: number, platform: string): void {
    const visit = this.#visits.get(key);
    if (visit === undefined) this.#visits.set(key, { startMs: atMs, endMs: atMs, events: 1, platform });
    else {
      visit.startMs = Math.min(visit.startMs, atMs);
      visit.endMs = Math.max(visit.endMs, atMs);
      visit.events++;
    }
  }

  #addRecord({ stream, fields, isBroken }: BackendRecord): void {
    if (stream === "projects") this.#projects.set(String(fields.project_id), `${fields.client}|${fields.project}`);
    if (stream === "projects" || isBroken) return;
    const id = String(fields.entry_id);
    const updatedMs = Date.parse(String(fields.updated_at));
    if (updatedMs < (this.#entries.get(id)?.updatedMs ?? 0)) return;
    this.#entries.set(id, {
      updatedMs,
      project: String(fields.project_id),
      startedMs: Date.parse(String(fields.started_at)),
      endedMs: Date.parse(String(fields.ended_at)),
      isBillable: fields.billable === true,
      isDeleted: fields.deleted === true,
    });
  }
}

/** Each list in the order of its rows as text. Days and weeks are `YYYY-MM-DD` in UTC, a week its Monday; times in milliseconds. */
export interface Figures {
  /** Day, people who used the product, people who came by at all, people who signed up. */
  readonly daily: readonly (readonly [string, number, number, number])[];
  readonly weekly: readonly (readonly [string, number])[];
  /** Week of sign-up, weeks since, people active then. */
  readonly retention: readonly (readonly [string, number, number])[];
  /** Week of sign-up, people who signed up, made a project, started a timer, saw a report. */
  readonly funnel: readonly (readonly [string, number, number, number, number])[];
  /** Day, event, platform, version, uses, people. */
  readonly features: readonly (readonly [string, string, string, string, number, number])[];
  /** Day, client, project, entries, milliseconds, billable ones. */
  readonly hours: readonly (readonly [string, string, string, number, number, number])[];
  /** Day, platform, sessions, their events, those with one event only, their time in all. */
  readonly sessions: readonly (readonly [string, string, number, number, number, number])[];
}

interface Visit {
  startMs: number;
  endMs: number;
  events: number;
  readonly platform: string;
}

interface Entry {
  readonly updatedMs: number;
  readonly project: string;
  readonly startedMs: number;
  readonly endedMs: number;
  readonly isBillable: boolean;
  readonly isDeleted: boolean;
}

class Sets {
  readonly sets = new Map<string, Set<number>>();

  add(key: string, value: number): void {
    const set = this.sets.get(key);
    if (set === undefined) this.sets.set(key, new Set([value]));
    else set.add(value);
  }
}

const DAY_MS = 86_400_000;

function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

function weekOf(ms: number): string {
  const sinceMonday = (new Date(ms).getUTCDay() + 6) % 7;
  return dayOf(ms - sinceMonday * DAY_MS);
}

function weeksBetween(from: string, to: string): number {
  return Math.round((Date.parse(to) - Date.parse(from)) / (7 * DAY_MS));
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, n) => total + n, 0);
}
