import { Random } from "../../simulation/random.ts";
import type { SentEvent } from "../../simulation/sent-event.ts";
import { Uplink } from "./uplink.ts";
import { type TelemetryRecord, Vehicle } from "./vehicle.ts";
import { serviceLog } from "./workshop.ts";

export interface DriveOptions {
  readonly seed: number;
  /** When the run starts: milliseconds since the epoch. */
  readonly nowMs: number;
  readonly vehicles: number;
  readonly hertz: number;
  readonly historyHours: number;
  /** The seconds in which the history is sent. */
  readonly historySeconds?: number;
  /** Records of a vehicle that really drove, each with the second of the run at which it is sent. */
  readonly recorded?: Iterable<{ readonly atSeconds: number; readonly record: TelemetryRecord }>;
}

/** Records of the past are coarser. */
const HISTORY_STEP_S = 30;
const TRAFFIC_EVERY_S = 60;

/**
 * All that the fleet sends: the workshop's log first, then what vehicles say, in the order and with the faults in which it really arrives. The
 * same options give the same events, byte for byte. Ends with the recorded trips when there are no simulated vehicles.
 */
export function drive(options: DriveOptions): { opening: SentEvent[]; events: Generator<SentEvent, undefined> } {
  const { seed, nowMs, historyHours } = options;
  const random = new Random(seed);
  const startMs = nowMs - historyHours * 3_600_000;
  const log = serviceLog(options.vehicles, startMs, new Random(seed ^ 0x5eed));
  const opening = log.map(
    (service): SentEvent => ({
      stream: "maintenance",
      kind: "regular",
      line: JSON.stringify(service),
      atSeconds: 0,
    }),
  );
  const vehicles = Array.from({ length: options.vehicles }, (_, index) => {
    const last = log.findLast(({ vehicle_id }) => vehicle_id === vehicleName(index));
    // Some are a few kilometres from their next service, and pass it while one looks.
    const sinceKm = index % 8 === 5 ? 14_990 + random.between(0, 9) : random.between(500, 14_000);
    return new Vehicle(vehicleName(index), index, (last?.odometer_km ?? 0) + sinceKm, new Random(seed + index + 1));
  });
  return { opening, events: merged(simulated(options, vehicles, startMs), recorded(options)) };
}

export function vehicleName(index: number): string {
  return `V-${String(index + 1).padStart(3, "0")}`;
}

function* simulated(
  { seed, nowMs, hertz, historyHours, historySeconds = 20 }: DriveOptions,
  vehicles: readonly Vehicle[],
  startMs: number,
): Generator<SentEvent, undefined> {
  if (vehicles.length === 0) return;
  const uplinks = vehicles.map((_, index) => new Uplink(index, new Random(seed * 31 + index)));
  const weather = new Random(seed ^ 0x7ea);
  let nextTrafficMs = startMs;
  const steps = historyHours === 0 ? 0 : (historyHours * 3600) / HISTORY_STEP_S;
  for (let step = 0; ; step++) {
    const isHistory = step < steps;
    const stepSeconds = isHistory ? HISTORY_STEP_S : 1 / hertz;
    const live = step - steps;
    const timeMs = isHistory ? startMs + step * HISTORY_STEP_S * 1000 : nowMs + (live / hertz) * 1000;
    const dueSeconds = isHistory ? (step / steps) * historySeconds : live / hertz;
    if (!isHistory && dueSeconds < historySeconds && steps > 0) continue; // while the past was sent, the present went by
    if (timeMs >= nextTrafficMs) {
      nextTrafficMs = timeMs + TRAFFIC_EVERY_S * 1000;
      for (const line of trafficAround(vehicles, timeMs, weather))
        yield { stream: "traffic", kind: "regular", line, atSeconds: dueSeconds };
    }
    for (const [index, vehicle] of vehicles.entries()) {
      const record = vehicle.step(Math.round(timeMs), stepSeconds);
      for (const event of (uplinks[index] as Uplink).send(record, timeMs)) yield { ...event, atSeconds: dueSeconds };
    }
  }
}

/** Observations of the cells in which vehicles are; one cell in five has nobody to observe it. */
function trafficAround(vehicles: readonly Vehicle[], timeMs: number, random: Random): string[] {
  const cells = [...new Set(vehicles.flatMap(({ cell }) => cell ?? []))].sort();
  const hour = new Date(timeMs).getUTCHours();
  const isRush = (hour >= 6 && hour < 9) || (hour >= 15 && hour < 18);
  return cells
    .filter((cell) => [...cell].reduce((sum, letter) => sum + letter.charCodeAt(0), 0) % 5 !== 0)
    .map((cell) => {
      const busy = random.next() + (isRush ? 0.35 : 0);
      const level = busy > 1.05 ? "jam" : busy > 0.75 ? "dense" : "free";
      const speed_kmh = Math.round({ jam: 12, dense: 38, free: 70 }[level] + random.between(-8, 8));
      return JSON.stringify({ cell, observed_at: new Date(timeMs).toISOString(), level, speed_kmh });
    });
}

function* recorded({ recorded = [] }: DriveOptions): Generator<SentEvent, undefined> {
  for (const { atSeconds, record } of recorded)
    yield { stream: "telemetry", kind: "regular", line: JSON.stringify(record), atSeconds };
}

/** Two sources by the time at which their events are due. */
function* merged(
  a: Iterator<SentEvent, undefined>,
  b: Iterator<SentEvent, undefined>,
): Generator<SentEvent, undefined> {
  let left = a.next().value;
  let right = b.next().value;
  while (left !== undefined || right !== undefined) {
    if (right === undefined || (left !== undefined && left.atSeconds <= right.atSeconds)) {
      yield left as SentEvent;
      left = a.next().value;
    } else {
      yield right;
      right = b.next().value;
    }
  }
}
