import type {
  EventView,
  KeyedState,
  LaneServices,
  Operator,
  OperatorKind,
  Outlet,
  StateCodec,
} from "../../src/react/operator.ts";

const WINDOWS_MS = [60_000, 600_000, 3_600_000];
const NUMBERS = 5;

/** Start, count, sum, least and greatest of three tumbling windows. */
const WINDOWS: StateCodec<Float64Array> = {
  version: "windows-1",
  encode: (value) => new Uint8Array(value.buffer, value.byteOffset, value.byteLength),
  decode: (bytes) => new Float64Array(Uint8Array.from(bytes).buffer),
};

/** Three windows over the speed of each vehicle. */
class Windows implements Operator {
  readonly #windows: KeyedState<Float64Array>;

  constructor(lane: LaneServices) {
    this.#windows = lane.state("windows", { codec: WINDOWS });
  }

  apply({ value, receivedAtMs }: EventView): void {
    const key = value["vehicle_id"] as string;
    const speed = value["speed_kmh"] as number;
    const windows = this.#windows.get(key)?.slice() ?? new Float64Array(WINDOWS_MS.length * NUMBERS);
    for (let i = 0; i < WINDOWS_MS.length; i++) {
      const at = i * NUMBERS;
      const start = receivedAtMs - (receivedAtMs % (WINDOWS_MS[i] as number));
      if (windows[at] !== start) {
        windows.set([start, 0, 0, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY], at);
      }
      windows[at + 1]! += 1;
      windows[at + 2]! += speed;
      windows[at + 3] = Math.min(windows[at + 3] as number, speed);
      windows[at + 4] = Math.max(windows[at + 4] as number, speed);
    }
    this.#windows.set(key, windows);
  }

  read(key: unknown): unknown {
    return this.#windows.get(String(key));
  }
}

/** One event in a hundred is an alert: the last digits of its id decide. */
class Brakes implements Operator {
  apply({ value, offset }: EventView, out: Outlet): void {
    if ((value["event_id"] as string).endsWith("00"))
      out.emit("alerts", { vehicle_id: value["vehicle_id"], cause: offset });
  }
}

const opener: OperatorKind<"windows" | "brakes", unknown> = {
  open: (plan, _, lane) => (plan === "windows" ? new Windows(lane) : new Brakes()),
};

export const operatorKinds = { function: opener };
