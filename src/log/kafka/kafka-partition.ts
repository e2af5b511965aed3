/** What this process knows of one partition: its ends, who waits for them to move, and whether it can still be trusted. */
import { MillraceError } from "../../errors.ts";
import { EndWaiters } from "../end-waiters.ts";
import type { Ends } from "../event-log.ts";
import type { Topic } from "./topics.ts";

export class KafkaPartition {
  readonly stream: string;
  readonly topic: Topic;
  readonly index: number;
  readonly waiters = new EndWaiters();
  #start = 0;
  #end = 0;
  #wentBack: MillraceError | undefined;

  constructor(stream: string, topic: Topic, index: number) {
    this.stream = stream;
    this.topic = topic;
    this.index = index;
  }

  /** As people name it, and Kafka's own folders. */
  get name(): string {
    return `${this.topic.name}-${this.index}`;
  }

  get ends(): Ends {
    return { start: this.#start, end: this.#end };
  }

  get wentBack(): MillraceError | undefined {
    return this.#wentBack;
  }

  /** Somebody was told that everything below `end` is durable. A smaller end than known is an answer that came late. */
  learn({ start = 0, end = 0 }: { start?: number; end?: number }): void {
    if (end > this.#end) {
      this.#end = end;
      this.waiters.wake(end);
    }
    if (start > this.#start) this.#start = Math.min(start, this.#end);
  }

  /** What was acknowledged is no longer there. From here on nothing is read or appended: offsets would mean two events. */
  lost(has: number): MillraceError {
    const { stream, index, topic } = this;
    this.#wentBack ??= new MillraceError("LOG_WENT_BACK", {
      ...{ stream, partition: index, had: this.#end, has, topic: topic.name },
    });
    return this.#wentBack;
  }

  /** @throws LOG_WENT_BACK */
  trusted(): this {
    if (this.#wentBack) throw this.#wentBack;
    return this;
  }
}
