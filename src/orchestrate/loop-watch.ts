/**
 * Names the step that holds up the event loop, which all of the platform shares. It is known once the loop goes on, from two looks that
 * cost next to nothing: the function of a step is timed up to its first `await`, which tells exactly; and while steps are under way a
 * beat that comes late tells that one of them, or something else, has computed without a pause. Time that the machine gave to others is
 * nobody's: this thread must have computed for that long itself. A call that blocks without computing (`execSync`) is therefore not named.
 */

export interface WatchedStep {
  readonly run: string;
  readonly workflow: string;
  readonly step: string;
  /** Writes a line into the run's log. */
  log(message: string, fields: Readonly<Record<string, unknown>>): void;
}

export interface LoopWatchParts {
  /** Writes a line into the platform's log. */
  readonly warn: (finding: Readonly<Record<string, unknown>>, what: string) => void;
  /** Milliseconds that never go back. */
  readonly nowMs: () => number;
  /** Milliseconds of processor time that this thread has used. */
  readonly cpuMs: () => number;
}

const BEAT_MS = 100;
/** Requests in the meantime were late by as much: twenty times what is promised for most of them. */
const HELD_MS = 200;
const MOST_NAMED = 5;

export interface Watching {
  /** Calls the step's function, and times it up to its first `await`. */
  call<T>(body: () => T): T;
  end(): void;
}

interface UnderWay {
  readonly watched: WatchedStep;
  readonly fromMs: number;
  heldMs: number;
  /** What it must have held up in all to be named again: twice as much each time. */
  nextMs: number;
}

export class LoopWatch {
  readonly #o: LoopWatchParts;
  readonly #underWay = new Set<UnderWay>();
  #timer: NodeJS.Timeout | undefined;
  #beatMs = 0;
  #beatCpuMs = 0;
  /** Since the last beat, and already told of. */
  #toldMs = 0;

  constructor(parts: LoopWatchParts) {
    this.#o = parts;
  }

  /** Watches one attempt of a step, from the call of its function to `end`. */
  begin(watched: WatchedStep): Watching {
    if (this.#timer === undefined) {
      this.#mark(this.#o.nowMs(), this.#o.cpuMs());
      this.#timer = setInterval(() => this.beat(), BEAT_MS).unref();
    }
    const underWay = { watched, fromMs: this.#o.nowMs(), heldMs: 0, nextMs: HELD_MS };
    this.#underWay.add(underWay);
    return {
      call: (body) => this.#call(underWay, body),
      end: () => {
        // It may have held up the loop until just now.
        this.beat();
        this.#underWay.delete(underWay);
        if (this.#underWay.size === 0) this.close();
      },
    };
  }

  /** Looks how late it is. Called ten times a second while steps are under way. */
  beat(): void {
    const nowMs = this.#o.nowMs();
    const cpuMs = this.#o.cpuMs();
    const lateMs = nowMs - this.#beatMs - this.#toldMs;
    if (this.#held(lateMs - BEAT_MS, cpuMs - this.#beatCpuMs - this.#toldMs)) {
      const beganMs = nowMs - lateMs;
      this.#tell(
        [...this.#underWay].filter(({ fromMs }) => fromMs <= beganMs + BEAT_MS),
        lateMs,
        "was under way while the platform was held up",
      );
    }
    this.#mark(nowMs, cpuMs);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #call<T>(underWay: UnderWay, body: () => T): T {
    const fromMs = this.#o.nowMs();
    const cpuMs = this.#o.cpuMs();
    try {
      return body();
    } finally {
      const ms = this.#o.nowMs() - fromMs;
      if (this.#held(ms, this.#o.cpuMs() - cpuMs)) {
        this.#toldMs += ms;
        this.#tell([underWay], ms, "held up the platform");
      }
    }
  }

  #mark(nowMs: number, cpuMs: number): void {
    this.#beatMs = nowMs;
    this.#beatCpuMs = cpuMs;
    this.#toldMs = 0;
  }

  #held(ms: number, cpuMs: number): boolean {
    return ms >= HELD_MS && cpuMs >= HELD_MS;
  }

  #tell(steps: readonly UnderWay[], heldMs: number, how: string): void {
    const ms = Math.round(heldMs);
    const others = steps.length === 1 ? "" : ` (and ${steps.length - 1} other steps were)`;
    for (const one of steps.slice(0, MOST_NAMED)) {
      one.heldMs += ms;
      if (one.heldMs < one.nextMs) continue;
      one.nextMs = 2 * one.heldMs;
      const { workflow, run, step } = one.watched;
      const what = `step ${step} of workflow ${workflow} ${how} for ${ms} ms${others}: what computes without awaiting anything belongs into run.isolated`;
      const figures = { ms, totalMs: one.heldMs };
      one.watched.log(what, figures);
      this.#o.warn({ workflow, run, step, ...figures }, what);
    }
  }
}
