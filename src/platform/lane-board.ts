/**
 * How every lane of the project stands, wherever it is: those of this process as they are, the others as their processes say, some seconds old. This process
 * says it of its own as often.
 */
import type { LaneRecord, LaneRecords } from "../react/lane-records.ts";
import type { OperatorPlan } from "../react/operator.ts";
import type { LaneState } from "../react/reactor.ts";
import type { LaneStatus } from "../react/reactor-options.ts";

export interface LaneBoardParts {
  readonly records: LaneRecords;
  /** Lanes that are open in this process. */
  readonly own: () => readonly LaneState[];
  readonly worker: string;
  readonly plans: readonly Pick<OperatorPlan, "stream" | "lane">[];
  /** Number of partitions of a stream, and the end of one as far as this process knows. */
  readonly partitions: (stream: string) => number;
  readonly end: (stream: string, partition: number) => number;
  readonly report: (error: unknown, what: string) => void;
  /** Between two looks. Milliseconds, default 2000. */
  readonly everyMs?: number;
}

const EVERY_MS = 2_000;

export class LaneBoard {
  readonly #o: LaneBoardParts;
  #others: ReadonlyMap<string, LaneRecord> | undefined;
  /** By lane, what was said of it last. */
  readonly #told = new Map<string, string>();
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;
  #failing = false;

  constructor(parts: LaneBoardParts) {
    this.#o = parts;
  }

  /** Looks, and goes on looking. @throws STATE_UNAVAILABLE */
  async open(): Promise<void> {
    await this.#read();
    this.#timer = setInterval(() => void this.look(), this.#o.everyMs ?? EVERY_MS);
    this.#timer.unref();
  }

  /** Tells of the own lanes and learns of the others. A failure is reported, and made good by the next time. */
  look(): Promise<void> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  /** Tells how lanes stand that this process has, or had until now. @throws STATE_UNAVAILABLE */
  async tell(lanes: readonly LaneState[]): Promise<void> {
    const { records, worker } = this.#o;
    const news = lanes.flatMap((lane): { name: string; text: string; record: LaneRecord }[] => {
      const name = nameOf(lane.status);
      const { stream, partition, lane: of, pending: _, ...rest } = lane.status;
      const text = JSON.stringify([lane.owner, rest, lane.floors]);
      if (this.#told.get(name) === text) return [];
      return [{ name, text, record: { ...lane, stream, partition, lane: of, worker } }];
    });
    if (news.length === 0) return;
    await records.publish(news.map(({ record }) => record));
    for (const { name, text } of news) this.#told.set(name, text);
  }

  /** Of every lane that the project has and some process has opened. */
  lanes(): LaneStatus[] {
    const own = this.#o.own().map(({ status }) => status);
    const mine = new Set(own.map(nameOf));
    const others = [...(this.#others?.values() ?? [])].filter(
      ({ status }) => !mine.has(nameOf(status)) && this.#isExpected(status),
    );
    const { end } = this.#o;
    return [
      ...own,
      ...others.map(({ status }) => ({
        ...status,
        pending: Math.max(0, end(status.stream, status.partition) - status.position),
      })),
    ].sort((a, b) => a.partition - b.partition);
  }

  /** The first offset that some lane needs of a partition; 0 while that is not known of every lane, Infinity when none does. */
  floor(stream: string, partition: number): number {
    if (this.#others === undefined) return 0;
    const own = new Map(this.#o.own().map((state) => [nameOf(state.status), state] as const));
    let floor = Number.POSITIVE_INFINITY;
    for (const place of this.#expected()) {
      const state = own.get(nameOf(place)) ?? this.#others.get(nameOf(place));
      if (state === undefined && place.stream === stream && place.partition === partition) return 0;
      for (const one of state?.floors ?? [])
        if (one.stream === stream && one.partition === partition) floor = Math.min(floor, one.offset);
    }
    return floor;
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#looking;
  }

  async #look(): Promise<void> {
    try {
      await this.tell(this.#o.own());
      await this.#read();
      this.#failing = false;
    } catch (error) {
      if (!this.#failing) this.#o.report(error, "telling other workers how far reactions are; it is tried again");
      this.#failing = true;
    }
  }

  async #read(): Promise<void> {
    const records = await this.#o.records.all();
    this.#others = new Map(records.map((record) => [nameOf(record), record] as const));
  }

  #isExpected({ stream, lane }: Place): boolean {
    return this.#o.plans.some((plan) => plan.stream === stream && plan.lane === lane);
  }

  /** Every lane that the project has. */
  *#expected(): Iterable<Place> {
    const lanes = new Map(this.#o.plans.map(({ stream, lane }) => [`${stream}/${lane}`, { stream, lane }]));
    for (const { stream, lane } of lanes.values())
      for (let partition = 0; partition < this.#o.partitions(stream); partition++) yield { stream, lane, partition };
  }
}

interface Place {
  readonly stream: string;
  readonly lane: string;
  readonly partition: number;
}

function nameOf({ stream, partition, lane }: Place): string {
  return `${stream}/${partition}/${lane}`;
}
