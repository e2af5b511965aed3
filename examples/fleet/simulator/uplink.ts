import type { Random } from "../../simulation/random.ts";
import type { Kind, SentEvent } from "../../simulation/sent-event.ts";
import type { TelemetryRecord } from "./vehicle.ts";

const TUNNEL_EVERY_MS = 600_000;
const DUPLICATE_SHARE = 0.01;
const MALFORMED_SHARE = 0.001;
const TEN_YEARS_MS = 10 * 365.25 * 86_400_000;

type Unscheduled = Omit<SentEvent, "atSeconds">;

/**
 * The way from a vehicle to the platform. In tunnels nothing gets through, and at their end all of it comes at once and in no order; answers
 * are lost and records sent again; and two vehicles have something broken: the rpm sensor of the eighth, and the clock of the fourteenth, which
 * is ten years ahead for a minute of every hour.
 */
export class Uplink {
  readonly #index: number;
  readonly #random: Random;
  readonly #waiting: Unscheduled[] = [];
  #again: Unscheduled | undefined;
  #tunnelEndsMs = 0;
  #nextTunnelMs = 0;

  constructor(index: number, random: Random) {
    this.#index = index;
    this.#random = random;
  }

  /** What arrives when the vehicle says `record`: perhaps nothing, perhaps a burst. */
  *send(record: TelemetryRecord, timeMs: number): Generator<Unscheduled> {
    const random = this.#random;
    if (this.#nextTunnelMs === 0) this.#nextTunnelMs = timeMs + random.between(0, TUNNEL_EVERY_MS);
    if (timeMs >= this.#nextTunnelMs) {
      this.#tunnelEndsMs = timeMs + random.between(20_000, 90_000);
      this.#nextTunnelMs = this.#tunnelEndsMs + random.between(0.5, 1.5) * TUNNEL_EVERY_MS;
    }
    const isInTunnel = timeMs < this.#tunnelEndsMs;
    const event = this.#event(record, timeMs, isInTunnel ? "late" : "regular");
    if (isInTunnel) {
      this.#waiting.push(event);
      return;
    }
    const burst = this.#waiting.splice(0);
    for (let i = burst.length - 1; i > 0; i--) {
      const j = random.below(i + 1);
      [burst[i], burst[j]] = [burst[j] as Unscheduled, burst[i] as Unscheduled];
    }
    yield* burst;
    if (this.#again !== undefined) yield { ...this.#again, kind: "duplicate" };
    this.#again = random.chance(DUPLICATE_SHARE) ? event : undefined;
    if (random.chance(MALFORMED_SHARE)) yield { stream: "telemetry", kind: "malformed", line: brokenRecord(record) };
    yield event;
  }

  #event(record: TelemetryRecord, timeMs: number, kind: Kind): Unscheduled {
    if (this.#index === 7 && this.#random.chance(0.2)) {
      const rpm = this.#random.pick([-1, 8_191.75, 16_383]);
      return { stream: "telemetry", kind: "failing_check", line: JSON.stringify({ ...record, rpm }) };
    }
    if (this.#index === 13 && timeMs % 3_600_000 < 60_000) {
      const recorded_at = new Date(timeMs + TEN_YEARS_MS).toISOString();
      return { stream: "telemetry", kind: "failing_check", line: JSON.stringify({ ...record, recorded_at }) };
    }
    return { stream: "telemetry", kind, line: JSON.stringify(record) };
  }
}

/** Without the vehicle's name nobody can say whose it is. */
function brokenRecord({ vehicle_id: _nameless, ...record }: TelemetryRecord): string {
  return JSON.stringify(record);
}
