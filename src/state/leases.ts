/**
 * Work that only one process may do at a time. A lease is a row in PostgreSQL: who holds it, until when by the server's clock, and a token
 * that counts up with each holder.
 *
 * What is promised, and what is not:
 * - A holder stops by its own monotonic clock before the lease can be somebody else's, also while the server is away: `holds` is false from
 *   then on and the signal aborts. A process that was paused sees it as soon as it goes on.
 * - That is not enough, for a process may be paused between the question and the deed, and clocks may jump: what is done under a lease must be
 *   fenced where it lands. Records are by `withToken`: the transaction of a holder that has been followed by another fails, whatever any clock
 *   says. (M. Kleppmann, "How to do distributed locking", 2016.)
 * - A lease that is given up is free at once; that of a process that died after at most `ttlMs`.
 * - The server's clock may be set back or ahead: who waits also takes a lease that nobody has renewed for `ttlMs` by its own clock.
 */
import { MillraceError } from "../errors.ts";
import type { Session } from "./migrate.ts";
import type { State } from "./state.ts";
import { machineTicker, type Ticker } from "./ticker.ts";

export interface Leases {
  /** Wants a lease from now until the end: whenever it is held the work goes on, and after a loss it is wanted again. */
  want(name: string, work: LeasedWork): WantedLease;
  /** Takes a lease that is free now; undefined while somebody else holds it. @throws STATE_UNAVAILABLE */
  take(name: string): Promise<Lease | undefined>;
  /** Ends all that is wanted and gives everything back. */
  close(): Promise<void>;
}

export interface LeasedWork {
  /** Begins the work. A rejection is reported, and the lease is given back and wanted again. */
  gained(lease: Lease): void | Promise<void>;
  /** Ends the work; the lease is given back once it has resolved. Called after each `gained`, also when the lease was lost to somebody else. */
  lost(lease: Lease): void | Promise<void>;
}

export interface WantedLease {
  /** The lease while it is held. */
  readonly lease: Lease | undefined;
  /** Ends the work and gives the lease back. Again: the same promise. */
  end(): Promise<void>;
}

export interface Lease {
  readonly name: string;
  readonly token: number;
  /** Ask before each deed. */
  holds(): boolean;
  /** Aborts when the lease is lost or given back. */
  readonly signal: AbortSignal;
  /** Gives it back: whoever waits has it at once. */
  release(): Promise<void>;
}

export interface LeaseOptions {
  /** Who holds them; shown to people. */
  readonly holder: string;
  /** Time without a renewal after which a lease is free. Default: 10 s. */
  readonly ttlMs?: number;
  readonly report: (error: unknown, what: string) => void;
  readonly ticker?: Ticker;
}

/** Leases that several processes share. */
export async function openLeases(state: State, options: LeaseOptions): Promise<Leases> {
  const leases = new PostgresLeases(state, options);
  await leases.open();
  return leases;
}

/** Those of a process that works alone: everything is held at once and until it is given back. */
export function soleLeases(report: LeaseOptions["report"]): Leases {
  return new SoleLeases(report);
}

/**
 * Holds the caller's transaction to the lease: it fails here, or nobody else becomes holder before it has ended.
 * @throws LEASE_LOST
 */
export async function withToken(session: Session, { name, token }: Pick<Lease, "name" | "token">): Promise<void> {
  if (token === SOLE_TOKEN) return;
  const rows = await session.query("select 1 from millrace.leases where name = $1 and token = $2 for key share", [
    name,
    token,
  ]);
  if (rows.length === 0) throw new MillraceError("LEASE_LOST", { lease: name });
}

/** The records as seen by who holds a lease: each statement and each transaction fails once somebody else holds it. */
export function fencedState(state: State, lease: Pick<Lease, "name" | "token">): State {
  if (lease.token === SOLE_TOKEN) return state;
  const transaction: State["transaction"] = (work) =>
    state.transaction(async (session) => {
      await withToken(session, lease);
      return work(session);
    });
  return {
    connection: state.connection,
    bi: state.bi,
    query: (sql, params) => transaction((session) => session.query(sql, params)),
    transaction,
    listen: (channel, handler) => state.listen(channel, handler),
    close: () => state.close(),
  };
}

/** Long enough that a server that is started again or fails over is met by the same holder, short enough to wait for. */
const TTL_MS = 10_000;
/** A third, so that one renewal may fail; what is left for clocks that do not run alike is a tenth. */
const RENEW_SHARE = 1 / 3;
const STOP_SHARE = 0.9;
const RETRY_MS = 500;
/** No holder has it. */
const SOLE_TOKEN = 0;
const CHANNEL = "millrace_leases";

/** What is seen of somebody else's lease. */
interface Seen {
  readonly token: number;
  readonly renewals: string;
  readonly atMs: number;
}

class PostgresLeases implements Leases {
  readonly #state: State;
  readonly #o: LeaseOptions;
  readonly #ticker: Ticker;
  readonly #ttlMs: number;
  readonly #seen = new Map<string, Seen>();
  readonly #held = new Set<HeldLease>();
  readonly #wanted = new Set<Wanted>();
  #unlisten: (() => Promise<void>) | undefined;

  constructor(state: State, options: LeaseOptions) {
    this.#state = state;
    this.#o = options;
    this.#ticker = options.ticker ?? machineTicker;
    this.#ttlMs = options.ttlMs ?? TTL_MS;
  }

  async open(): Promise<void> {
    this.#unlisten = await this.#state.listen(CHANNEL, (name) => {
      for (const wanted of this.#wanted) if (name === undefined || wanted.name === name) wanted.wake();
    });
  }

  want(name: string, work: LeasedWork): WantedLease {
    const { report } = this.#o;
    const wanted = new Wanted(name, work, { try: () => this.#try(name), ticker: this.#ticker, report });
    this.#wanted.add(wanted);
    void wanted.ended.then(() => this.#wanted.delete(wanted));
    return wanted;
  }

  async take(name: string): Promise<Lease | undefined> {
    const found = await this.#try(name);
    return typeof found === "number" ? undefined : found;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#wanted].map((wanted) => wanted.end()));
    await Promise.all([...this.#held].map((lease) => lease.release()));
    await this.#unlisten?.();
  }

  /** The lease, or in how many milliseconds to look again. */
  async #try(name: string): Promise<HeldLease | number> {
    const askedMs = this.#ticker.now();
    const seen = this.#seen.get(name);
    const still = seen !== undefined && askedMs - seen.atMs >= this.#ttlMs;
    // What was held here before is held by nobody now, or by somebody else.
    const [row] = await this.#state.query<{ token: number }>(
      `insert into millrace.leases as l (name, holder, token, expires_at)
       values ($1, $2, 1, clock_timestamp() + $3 * interval '1 ms')
       on conflict (name) do update
         set holder = excluded.holder, token = l.token + 1, renewals = 0,
             expires_at = clock_timestamp() + $3 * interval '1 ms'
         where l.expires_at <= clock_timestamp() or (l.token = $4 and l.renewals = $5)
       returning token`,
      [name, this.#o.holder, this.#ttlMs, still ? seen.token : null, still ? seen.renewals : null],
    );
    if (row !== undefined) {
      this.#seen.delete(name);
      const lease = new HeldLease(name, row.token, askedMs, {
        state: this.#state,
        ticker: this.#ticker,
        ttlMs: this.#ttlMs,
        ended: () => this.#held.delete(lease),
      });
      this.#held.add(lease);
      return lease;
    }
    return this.#look(name);
  }

  async #look(name: string): Promise<number> {
    const [row] = await this.#state.query<{ token: number; renewals: string; left: number }>(
      `select token, renewals, extract(epoch from expires_at - clock_timestamp())::float8 * 1000 as left
       from millrace.leases where name = $1`,
      [name],
    );
    if (row === undefined) return 0;
    const { token, renewals, left } = row;
    const before = this.#seen.get(name);
    if (before?.token !== token || before.renewals !== renewals)
      this.#seen.set(name, { token, renewals, atMs: this.#ticker.now() });
    // A moment behind its end, and never later than somebody who trusts his own clock alone would look.
    return Math.min(Math.max(left, 0) + 10, this.#ttlMs);
  }
}

interface WantedParts {
  readonly try: () => Promise<Lease | number>;
  readonly ticker: Ticker;
  readonly report: LeaseOptions["report"];
}

class Wanted implements WantedLease {
  readonly name: string;
  readonly ended: Promise<void>;
  lease: Lease | undefined;
  readonly #work: LeasedWork;
  readonly #o: WantedParts;
  #ending = false;
  #wake: () => void = () => undefined;
  #woken = false;

  constructor(name: string, work: LeasedWork, parts: WantedParts) {
    this.name = name;
    this.#work = work;
    this.#o = parts;
    this.ended = this.#run();
  }

  /** Looks again now. */
  wake(): void {
    this.#woken = true;
    this.#wake();
  }

  end(): Promise<void> {
    this.#ending = true;
    this.wake();
    return this.ended;
  }

  async #run(): Promise<void> {
    let failing = false;
    while (!this.#ending) {
      this.#woken = false;
      try {
        const found = await this.#o.try();
        failing = false;
        if (typeof found === "number") await this.#pause(found);
        else await this.#hold(found);
      } catch (error) {
        // An outage is told once; the next attempt is what matters.
        if (!failing) this.#o.report(error, `taking the lease ${this.name}`);
        failing = true;
        await this.#pause(RETRY_MS);
      }
    }
  }

  async #hold(lease: Lease): Promise<void> {
    try {
      if (this.#ending) return;
      this.lease = lease;
      try {
        await this.#work.gained(lease);
        while (!this.#ending && !lease.signal.aborted) {
          const lost = () => this.#wake();
          lease.signal.addEventListener("abort", lost, { once: true });
          await this.#pause(Number.POSITIVE_INFINITY);
          lease.signal.removeEventListener("abort", lost);
          this.#woken = false;
        }
      } finally {
        await this.#work.lost(lease);
      }
    } catch (error) {
      this.#o.report(error, `the work of the lease ${this.name}`);
      await this.#pause(RETRY_MS);
    } finally {
      this.lease = undefined;
      await lease.release();
    }
  }

  async #pause(ms: number): Promise<void> {
    if (this.#woken || this.#ending) return;
    await new Promise<void>((resolve) => {
      const cancel = ms === Number.POSITIVE_INFINITY ? () => undefined : this.#o.ticker.after(ms, resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
    this.#wake = () => undefined;
  }
}

interface HeldParts {
  readonly state: State;
  readonly ticker: Ticker;
  readonly ttlMs: number;
  readonly ended: () => void;
}

class HeldLease implements Lease {
  readonly name: string;
  readonly token: number;
  readonly #o: HeldParts;
  readonly #lost = new AbortController();
  /** By the ticker; from then on somebody else may hold it. */
  #untilMs: number;
  #cancelStop: () => void = () => undefined;
  #cancelRenewal: () => void = () => undefined;
  #releasing: Promise<void> | undefined;

  constructor(name: string, token: number, askedMs: number, parts: HeldParts) {
    this.name = name;
    this.token = token;
    this.#o = parts;
    this.#untilMs = 0;
    this.#renewed(askedMs);
    this.#plan(parts.ttlMs * RENEW_SHARE);
  }

  get signal(): AbortSignal {
    return this.#lost.signal;
  }

  holds(): boolean {
    return !this.#lost.signal.aborted && this.#o.ticker.now() < this.#untilMs;
  }

  release(): Promise<void> {
    this.#releasing ??= this.#release();
    return this.#releasing;
  }

  async #release(): Promise<void> {
    this.#end();
    try {
      await this.#o.state.query(
        `with given as (update millrace.leases set expires_at = '-infinity' where name = $1 and token = $2 returning name)
         select pg_notify($3, name) from given`,
        [this.name, this.token, CHANNEL],
      );
    } catch {
      // Who cannot be told waits until it has expired.
    }
  }

  #renewed(askedMs: number): void {
    const { ticker, ttlMs } = this.#o;
    // From when it was asked: the answer may have been long under way.
    this.#untilMs = askedMs + ttlMs * STOP_SHARE;
    this.#cancelStop();
    this.#cancelStop = ticker.after(Math.max(0, this.#untilMs - ticker.now()), () => this.#end());
  }

  #plan(ms: number): void {
    this.#cancelRenewal = this.#o.ticker.after(ms, () => void this.#renew());
  }

  async #renew(): Promise<void> {
    const { state, ticker, ttlMs } = this.#o;
    const askedMs = ticker.now();
    try {
      const rows = await state.query(
        `update millrace.leases set renewals = renewals + 1, expires_at = clock_timestamp() + $3 * interval '1 ms'
         where name = $1 and token = $2 returning token`,
        [this.name, this.token, ttlMs],
      );
      if (this.#lost.signal.aborted) return;
      if (rows.length === 0) return this.#end();
      this.#renewed(askedMs);
      this.#plan(ttlMs * RENEW_SHARE);
    } catch {
      // It is tried until it is lost, which whoever works under it sees.
      if (!this.#lost.signal.aborted) this.#plan(Math.min(RETRY_MS, ttlMs * RENEW_SHARE));
    }
  }

  #end(): void {
    this.#cancelStop();
    this.#cancelRenewal();
    this.#o.ended();
    this.#lost.abort();
  }
}

class SoleLeases implements Leases {
  readonly #report: LeaseOptions["report"];
  readonly #wanted = new Set<WantedLease>();
  readonly #taken = new Map<string, Lease>();

  constructor(report: LeaseOptions["report"]) {
    this.#report = report;
  }

  want(name: string, work: LeasedWork): WantedLease {
    const take = () => this.take(name);
    const wanted = new Wanted(name, work, {
      try: async () => (await take()) ?? RETRY_MS,
      ticker: machineTicker,
      report: this.#report,
    });
    this.#wanted.add(wanted);
    void wanted.ended.then(() => this.#wanted.delete(wanted));
    return wanted;
  }

  async take(name: string): Promise<Lease | undefined> {
    if (this.#taken.has(name)) return undefined;
    const ended = new AbortController();
    const lease: Lease = {
      name,
      token: SOLE_TOKEN,
      holds: () => !ended.signal.aborted,
      signal: ended.signal,
      release: async () => {
        if (this.#taken.get(name) === lease) this.#taken.delete(name);
        ended.abort();
      },
    };
    this.#taken.set(name, lease);
    return lease;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#wanted].map((wanted) => wanted.end()));
    await Promise.all([...this.#taken.values()].map((lease) => lease.release()));
  }
}
