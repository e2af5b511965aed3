/** Makes lanes: takes each, and finds where it begins and what the logs of its targets hold of it. */
import { CheckpointKeeper } from "./checkpoint-keeper.ts";
import { EntriesDamaged, type FoundCheckpoint, type LaneCheckpoints } from "./checkpoint-store.ts";
import { type LaneName, markPrefix } from "./emission-mark.ts";
import type { KnownTarget } from "./emitter.ts";
import { findTargets } from "./known-targets.ts";
import { Lane } from "./lane.ts";
import { type LaneStart, laneStart, type StartQuestion } from "./lane-start.ts";
import type { ReactorOptions } from "./reactor-options.ts";
import { Retrying } from "./retrying.ts";

export class LaneMaker {
  readonly #o: ReactorOptions;
  readonly #retrying: Retrying;
  readonly #lost: (lane: Lane) => void;
  #lastLane = -1;
  #nextOperator = 0;

  /** `lost`: called when another process turns out to have taken a lane. */
  constructor(options: ReactorOptions, retrying: Retrying, lost: (lane: Lane) => void) {
    this.#o = options;
    this.#retrying = retrying;
    this.#lost = lost;
  }

  /** Lanes of their own numbers, with operators of their own; none of them when one cannot be had. */
  async make(names: readonly LaneName[]): Promise<Lane[]> {
    const taken = await Promise.all(names.map((name) => this.#take(name)));
    // What owners before have appended is known from here on.
    await this.#o.log.refresh();
    const known = await this.#known(taken.map((one) => this.#asked(one)));
    const lanes: Lane[] = [];
    try {
      for (const parts of known) {
        lanes.push(await this.#lane(++this.#lastLane, this.#nextOperator, parts));
        this.#nextOperator += parts.start.operators.length;
      }
    } catch (error) {
      await Promise.all(lanes.map((lane) => lane.close()));
      throw error;
    }
    return lanes;
  }

  /** In the place of a lane whose state cannot be read, or that of some of its operators: it is built again from the log. Closes the former one. */
  async makeAgain(
    lane: Lane,
    { incompatible, damaged }: { readonly incompatible?: ReadonlySet<string>; readonly damaged?: EntriesDamaged },
  ): Promise<Lane> {
    await lane.close();
    const parts = damaged ? await this.#damaged(lane.name, damaged) : await this.#again(lane.name, incompatible);
    return this.#lane(lane.number, lane.firstOperator, parts);
  }

  async #take(name: LaneName): Promise<TakenLane> {
    const checkpoints = this.#o.checkpoints.of(name);
    const found = await checkpoints.take();
    const isLater =
      found.kind === "none" && (await this.#o.checkpoints.isLater(name, this.#o.log.partitions(name.stream)));
    return { name, checkpoints, found, isLater };
  }

  #asked({ name, checkpoints, found, isLater }: TakenLane, incompatible: ReadonlySet<string> = new Set()): AskedLane {
    const plans = this.#o.plans.filter((plan) => plan.stream === name.stream && plan.lane === name.lane);
    const ends = this.#o.log.ends(name.stream, name.partition);
    return { checkpoints, question: { found, lane: name, plans, ends, fresh: isLater, incompatible } };
  }

  /** Where each lane begins, and what the targets hold of it. */
  async #known(questions: readonly AskedLane[]): Promise<NewLane[]> {
    const starting = questions.map((asked) => ({
      ...{ ...asked, name: asked.question.lane, start: laneStart(asked.question) },
    }));
    for (const { start, name } of starting)
      for (const finding of start.findings) this.#o.report(finding, `lane ${name.lane}`);
    const targets = await findTargets(this.#o.log, starting, [...this.#o.streams.keys()]);
    return starting.map((lane) => ({ ...lane, known: targets.get(markPrefix(lane.name)) ?? [] }));
  }

  async #lane(
    number: number,
    firstOperator: number,
    { question, checkpoints, name, start, known }: NewLane,
  ): Promise<Lane> {
    const { admit, deadLetters, clock = Date.now, repetitions, membership } = this.#o;
    const parts = { checkpoints, retrying: new Retrying(this.#o.report, this.#retrying), clock };
    let keeper: CheckpointKeeper;
    try {
      keeper = await CheckpointKeeper.open(parts, start, question.found, known);
    } catch (error) {
      if (!(error instanceof EntriesDamaged)) throw error;
      // The entries that were to be taken over.
      return this.#lane(number, firstOperator, await this.#damaged(name, error));
    }
    return new Lane(number, firstOperator, name, start, known, keeper, {
      ...{ ...parts, log: this.#o.log, admit, deadLetters, repetitions, membership },
      taken: this.#lost,
    });
  }

  /** A lane whose entries cannot be read: its state is built again from the log. */
  async #damaged(name: LaneName, { path, at }: EntriesDamaged): Promise<NewLane> {
    const taken = await this.#take(name);
    const { found } = taken;
    const damaged: FoundCheckpoint =
      found.kind === "whole"
        ? { kind: "damaged", generation: found.checkpoint.generation, path, at, known: found.checkpoint.commit }
        : found;
    const [parts] = await this.#known([this.#asked({ ...taken, found: damaged })]);
    return parts as NewLane;
  }

  async #again(name: LaneName, incompatible: ReadonlySet<string> | undefined): Promise<NewLane> {
    const [parts] = await this.#known([this.#asked(await this.#take(name), incompatible)]);
    return parts as NewLane;
  }
}

/** What the store had of a lane when it was taken. */
interface TakenLane {
  readonly name: LaneName;
  readonly checkpoints: LaneCheckpoints;
  readonly found: FoundCheckpoint;
  readonly isLater: boolean;
}

interface AskedLane {
  readonly checkpoints: LaneCheckpoints;
  readonly question: StartQuestion;
}

interface NewLane extends AskedLane {
  readonly name: LaneName;
  readonly start: LaneStart;
  readonly known: readonly KnownTarget[];
}
