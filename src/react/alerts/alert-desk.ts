/**
 * What people do about alerts: acknowledge, resolve, silence. Everything is an event, durable before it is answered. Whoever delivers asks here whether an
 * alert may be told; the end of a silence tells those again that fire still.
 */
import type { ByHand } from "../../define/alert-event.ts";
import { MillraceError } from "../../errors.ts";
import type { AlertFilter, AlertRecords, KnownAlert } from "../../flow/alert-records.ts";
import type { Alerts } from "../../flow/alerts.ts";
import type { Silence, SilenceRecords } from "../../flow/silences.ts";
import { latestWindow, matches, type Silenceable, silencedUntilMs, windowAt } from "./silenced.ts";

export interface AlertDeskParts {
  readonly alerts: Pick<Alerts, "record" | "again" | "hold" | "end">;
  readonly records: Pick<AlertRecords, "find" | "open" | "list">;
  readonly silences: Pick<SilenceRecords, "all" | "created" | "ended">;
  /** False for alerts whose cause is not looked at again and again, those over streams. */
  readonly settled: (kind: string, name: string) => boolean;
  /** Why an alert that fires is over, whoever might look after it; undefined: it is not. Asked once, at the start. */
  readonly orphaned: (alert: KnownAlert) => string | undefined;
  /** Whether all who are to know of an alert were told, silences or not. */
  readonly told: (alert: KnownAlert) => Promise<boolean>;
  readonly clock: () => number;
  readonly newId: () => string;
  readonly report: (error: unknown, what: string) => void;
  /** Changes whenever a silence was made or ended, whichever process did it. Default: only this one does. */
  readonly silencesChanged?: () => Promise<unknown>;
}

export type NewSilence = Pick<Silence, "actor" | "reason" | "match" | "startsAtMs" | "endsAtMs" | "repeat">;

/** An alert, and until when it is silenced. */
export interface AlertNow extends KnownAlert {
  readonly silencedUntilMs: number | undefined;
}

export interface SilenceNow extends Silence {
  readonly state: "active" | "waiting" | "over";
}

const TICK_MS = 500;
/** The end of a silence is dealt with by the next life of the platform, unless that is too late to be news. */
const LATE_MS = 7 * 86_400_000;

export class AlertDesk {
  readonly #o: AlertDeskParts;
  #silences: Promise<Map<string, Silence>> | undefined;
  /** What `silencesChanged` said when they were read. */
  #silencesAsOf: unknown;
  /** By silence, the end of its newest time of silence that has been dealt with. */
  readonly #toldEnds = new Map<string, number>();
  #orphansEnded = false;
  /** One thing is done about alerts at a time. */
  #turn: Promise<unknown> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #ticking: Promise<void> | undefined;

  constructor(parts: AlertDeskParts) {
    this.#o = parts;
  }

  /** Begins to watch for the ends of silences. */
  start(): void {
    this.#timer = setInterval(() => this.tick(), TICK_MS);
    this.#timer.unref();
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#ticking;
    await this.#turn;
  }

  /** Until when silences hold an alert back; undefined: it may be told. */
  async silencedUntil(alert: Silenceable): Promise<number | undefined> {
    return silencedUntilMs((await this.#all()).values(), alert, this.#o.clock());
  }

  async list(
    filter: AlertFilter,
    page: { readonly limit: number; readonly before?: number | undefined },
  ): Promise<{ alerts: AlertNow[]; next: number | undefined }> {
    const { alerts, next } = await this.#o.records.list(filter, page);
    return { alerts: await Promise.all(alerts.map((alert) => this.#now(alert))), next };
  }

  /** @throws ALERT_UNKNOWN */
  async show(id: string): Promise<AlertNow> {
    return this.#now(await this.#find(id));
  }

  /** Says that somebody cares for it. Again: what was said first stays. @throws ALERT_UNKNOWN, ALERT_OVER */
  acknowledge(id: string, by: ByHand): Promise<AlertNow> {
    return this.#inTurn(async () => {
      const alert = await this.#find(id);
      if (alert.resolved !== undefined)
        throw new MillraceError("ALERT_OVER", { alert: id, since: new Date(alert.resolved.atMs).toISOString() });
      if (alert.acknowledged === undefined) await this.#o.alerts.record(id, alert, "acknowledged", by);
      return this.show(id);
    });
  }

  /** Ends it by hand. A new alert comes when its cause is gone and there again. Again: nothing. @throws ALERT_UNKNOWN */
  resolve(id: string, by: ByHand): Promise<AlertNow> {
    return this.#inTurn(async () => {
      const alert = await this.#find(id);
      if (alert.resolved === undefined) {
        await this.#o.alerts.record(id, alert, "resolved", by);
        const { kind, name, key } = alert;
        if (this.#o.settled(kind, name)) await this.#o.alerts.hold(kind, name, key);
      }
      return this.show(id);
    });
  }

  /** Newest first. */
  async silences(): Promise<SilenceNow[]> {
    return [...(await this.#all()).values()].reverse().map((silence) => this.#stateOf(silence));
  }

  silence(given: NewSilence): Promise<SilenceNow> {
    return this.#inTurn(async () => {
      const known = await this.#all();
      const { newId, clock, silences } = this.#o;
      const silence: Silence = { ...given, id: newId(), createdAtMs: clock(), ended: undefined };
      await silences.created(silence);
      known.set(silence.id, silence);
      return this.#stateOf(silence);
    });
  }

  /** Ends a silence before its time. Again: nothing. @throws SILENCE_UNKNOWN */
  endSilence(id: string, actor: string): Promise<SilenceNow> {
    return this.#inTurn(async () => {
      const known = await this.#all();
      const silence = known.get(id);
      if (silence === undefined) throw new MillraceError("SILENCE_UNKNOWN", { silence: id });
      const { state } = this.#stateOf(silence);
      if (state === "over") return this.#stateOf(silence);
      const ended = { atMs: this.#o.clock(), actor };
      await this.#o.silences.ended(id, ended);
      const over = { ...silence, ended };
      known.set(id, over);
      return this.#stateOf(over);
    });
  }

  /** Tells alerts again that fire when a silence ends. */
  tick(): void {
    this.#ticking ??= this.#inTurn(async () => {
      await this.#endOrphans();
      await this.#endsOfSilences();
    })
      .catch((error: unknown) => this.#o.report(error, "looking after alerts that fire; it is tried again"))
      .finally(() => {
        this.#ticking = undefined;
      });
  }

  /** Ends alerts whose definition is gone: nobody would. */
  async #endOrphans(): Promise<void> {
    if (this.#orphansEnded) return;
    const orphans = (await this.#o.records.open()).flatMap((alert) => {
      const text = this.#o.orphaned(alert);
      return text === undefined ? [] : [{ id: alert.id, alert: { ...alert, details: { reason: { text } } } }];
    });
    await this.#o.alerts.end(orphans);
    this.#orphansEnded = true;
  }

  async #endsOfSilences(): Promise<void> {
    const nowMs = this.#o.clock();
    const silences = await this.#all();
    const ended: { silence: Silence; toMs: number }[] = [];
    for (const silence of silences.values()) {
      // While one lasts its end is not news, and one that has ended for good and was dealt with will never be.
      const window = latestWindow(silence, nowMs);
      const told = this.#toldEnds.get(silence.id);
      if (window === undefined || nowMs < window.toMs || told === window.toMs || nowMs - window.toMs > LATE_MS)
        continue;
      ended.push({ silence, toMs: window.toMs });
    }
    if (ended.length === 0) return;
    const again = new Map<string, { id: string; alert: KnownAlert; cause: string }>();
    for (const alert of await this.#o.records.open()) {
      if (alert.state !== "firing" || silencedUntilMs(silences.values(), alert, nowMs) !== undefined) continue;
      for (const { silence, toMs } of ended) {
        const cause = `${silence.id}/${toMs}`;
        const told = alert.events.includes(`${alert.id}/firing/${cause}`);
        if (alert.atMs >= toMs || told || !matches(silence.match, alert) || (await this.#o.told(alert))) continue;
        again.set(alert.id, { id: alert.id, alert, cause });
      }
    }
    await this.#o.alerts.again([...again.values()]);
    for (const { silence, toMs } of ended) this.#toldEnds.set(silence.id, toMs);
  }

  async #all(): Promise<Map<string, Silence>> {
    const asOf = await this.#o.silencesChanged?.();
    if (asOf !== this.#silencesAsOf) this.#silences = undefined;
    this.#silencesAsOf = asOf;
    const reading =
      this.#silences ??
      this.#o.silences.all().then((silences) => new Map(silences.map((silence) => [silence.id, silence] as const)));
    this.#silences = reading;
    reading.catch(() => {
      if (this.#silences === reading) this.#silences = undefined; // it is tried again by the next call
    });
    return reading;
  }

  async #find(id: string): Promise<KnownAlert> {
    const alert = await this.#o.records.find(id);
    if (alert === undefined) throw new MillraceError("ALERT_UNKNOWN", { alert: id });
    return alert;
  }

  async #now(alert: KnownAlert): Promise<AlertNow> {
    return { ...alert, silencedUntilMs: alert.resolved ? undefined : await this.silencedUntil(alert) };
  }

  #stateOf(silence: Silence): SilenceNow {
    const nowMs = this.#o.clock();
    const lastMs = Math.min(
      silence.endsAtMs ?? Number.POSITIVE_INFINITY,
      silence.ended?.atMs ?? Number.POSITIVE_INFINITY,
    );
    const state = nowMs >= lastMs ? "over" : windowAt(silence, nowMs) !== undefined ? "active" : "waiting";
    return { ...silence, state };
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const next = this.#turn.then(work, work);
    this.#turn = next.catch(() => undefined); // told to who asked for it
    return next;
  }
}
