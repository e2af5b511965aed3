import { z } from "zod";

/**
 * The event that all benchmarks speak of: one reading of a vehicle, 274 bytes of JSON, each a little different.
 *
 *     {"event_id":"b01-000000000042","vehicle_id":"v04117","recorded_at":"2026-01-05T08:00:00.042Z","lat":51.482913,
 *      "lon":12.371845,"speed_kmh":57.31,"rpm":2350,"throttle_pct":23.0,"fuel_pct":63.0,"coolant_c":88.0,
 *      "odometer_km":123456.0,"heading_deg":187,"gear":4,"ignition":true}
 *
 * Every value keeps its width, so an event is the one before with some digits overwritten: making events costs a fraction
 * of what is measured with them.
 */
export class TelemetryEvents {
  readonly #line = Buffer.from(LINE);
  readonly #startMs: number;
  #state: number;
  #made = 0;

  /**
   * The same seed gives the same events. `sender` (0 to 255) tells apart the ids of makers that run side by side.
   * Event time starts at `startMs` and moves on by a millisecond per event.
   */
  constructor(options: { seed?: number; sender?: number; startMs?: number } = {}) {
    const { seed = 1, sender = 1, startMs = Date.UTC(2026, 0, 5, 8) } = options;
    if (!Number.isInteger(sender) || sender < 0 || sender > 255)
      throw new RangeError(`sender is 0 to 255, got ${sender}`);
    this.#line.write(sender.toString(16).padStart(2, "0"), SENDER_AT, "latin1");
    this.#startMs = startMs;
    this.#state = (Math.imul(seed, 0x9e3779b1) ^ Math.imul(sender + 1, 0x85ebca6b)) >>> 0 || 1;
  }

  /** Events made so far; the next one carries this number in its id. */
  get made(): number {
    return this.#made;
  }

  /** The next `count` events as NDJSON: `count * (EVENT_BYTES + 1)` bytes. */
  ndjson(count: number): Buffer {
    const out = Buffer.allocUnsafe(count * LINE_BYTES);
    for (let at = 0; at < out.length; at += LINE_BYTES) {
      this.#advance();
      out.set(this.#line, at);
    }
    return out;
  }

  /** The next `count` events as a JSON array; `count` is at least 1. */
  array(count: number): Buffer {
    const out = Buffer.allocUnsafe(count * LINE_BYTES + 1);
    out.set(this.ndjson(count), 1);
    for (let at = LINE_BYTES; at < out.length; at += LINE_BYTES) out[at] = COMMA;
    out[0] = OPEN;
    out[out.length - 1] = CLOSE;
    return out;
  }

  /** The next event as one JSON object. */
  one(): Buffer {
    this.#advance();
    return Buffer.copyBytesFrom(this.#line, 0, EVENT_BYTES);
  }

  #advance(): void {
    const line = this.#line;
    const number = this.#made++;
    if (number > 0) increment(line, NUMBER_END);
    const ms = (this.#startMs + number) % 1000;
    if (ms === 0 || number === 0) {
      line.write(new Date(this.#startMs + number).toISOString(), TIME_AT, "latin1");
    } else {
      three(line, MILLIS_AT, ms);
    }
    const a = this.#random();
    three(line, LAT_AT, a % 1000);
    three(line, LON_AT, (a >>> 10) % 1000);
    three(line, RPM_AT, (a >>> 20) % 1000);
    const b = this.#random();
    three(line, VEHICLE_AT, b % 1000);
    three(line, LAT_AT + 3, (b >>> 10) % 1000);
    three(line, LON_AT + 3, (b >>> 20) % 1000);
    const c = this.#random();
    line[SPEED_AT] = ZERO + (c & 7);
    line[THROTTLE_AT] = ZERO + ((c >>> 3) & 7);
    line[FUEL_AT] = ZERO + ((c >>> 6) & 7);
    line[COOLANT_AT] = ZERO + ((c >>> 9) & 7);
    line[ODOMETER_AT] = ZERO + ((c >>> 12) & 7);
    line[HEADING_AT] = ZERO + ((c >>> 15) & 7);
    line[GEAR_AT] = ZERO + 1 + ((c >>> 18) & 3);
  }

  /** xorshift32 of Marsaglia: 32 bits, never 0. */
  #random(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x >>> 0;
    return this.#state;
  }
}

/** The contract of a telemetry event, for the stream that takes them: id `event_id`, key `vehicle_id`, time `recorded_at`. */
export const telemetrySchema = z.object({
  event_id: z.string().min(1),
  vehicle_id: z.string().min(1),
  recorded_at: z.iso.datetime(),
  lat: z.number().min(-90).max(90),
  lon: z.number().min(-180).max(180),
  speed_kmh: z.number().min(0),
  rpm: z.int32().min(0),
  throttle_pct: z.number(),
  fuel_pct: z.number(),
  coolant_c: z.number(),
  odometer_km: z.number().min(0),
  heading_deg: z.int32(),
  gear: z.int32(),
  ignition: z.boolean(),
});

const TEMPLATE =
  '{"event_id":"b00-000000000000","vehicle_id":"v04000","recorded_at":"2026-01-01T00:00:00.000Z",' +
  '"lat":51.000000,"lon":12.000000,"speed_kmh":50.00,"rpm":2000,"throttle_pct":20.0,"fuel_pct":60.0,"coolant_c":80.0,' +
  '"odometer_km":123400.0,"heading_deg":100,"gear":4,"ignition":true}';

/** Bytes of one event, without the line break of NDJSON. */
export const EVENT_BYTES = TEMPLATE.length;

const LINE = Buffer.from(`${TEMPLATE}\n`, "latin1");
const LINE_BYTES = LINE.length;
const OPEN = "[".charCodeAt(0);
const COMMA = ",".charCodeAt(0);
const CLOSE = "]".charCodeAt(0);
const ZERO = "0".charCodeAt(0);
const NINE = "9".charCodeAt(0);

const SENDER_AT = after('"b');
const NUMBER_END = after("b00-") + 11;
const TIME_AT = after('"recorded_at":"');
const MILLIS_AT = TIME_AT + 20;
const VEHICLE_AT = after('"v04');
const LAT_AT = after('"lat":51.');
const LON_AT = after('"lon":12.');
const SPEED_AT = after('"speed_kmh":5');
const RPM_AT = after('"rpm":2');
const THROTTLE_AT = after('"throttle_pct":2');
const FUEL_AT = after('"fuel_pct":6');
const COOLANT_AT = after('"coolant_c":8');
const ODOMETER_AT = after('"odometer_km":1234');
const HEADING_AT = after('"heading_deg":1');
const GEAR_AT = after('"gear":');

function after(text: string): number {
  return TEMPLATE.indexOf(text) + text.length;
}

/** Adds one to the decimal number whose last digit stands at `end`. */
function increment(line: Buffer, end: number): void {
  let at = end;
  while (line[at] === NINE) line[at--] = ZERO;
  line[at] = (line[at] as number) + 1;
}

/** Writes a number below 1000 as three digits. */
function three(line: Buffer, at: number, value: number): void {
  const hundreds = (value / 100) | 0;
  const tens = (value / 10) | 0;
  line[at] = ZERO + hundreds;
  line[at + 1] = ZERO + tens - hundreds * 10;
  line[at + 2] = ZERO + value - tens * 10;
}
