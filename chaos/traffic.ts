/** What producers send: seeded events, each with the fate it must meet. */
import { createHash } from "node:crypto";
import type { Random } from "./random.ts";

export type StreamName = "orders" | "payments" | "stock_levels";

/** `stored`, or where it ends: refused at the door, filtered by the SQL, failing a cast or a check. */
export type Fate = "stored" | "door" | "filtered" | "transform" | "check";

export interface Sent {
  readonly stream: StreamName;
  readonly id: string;
  readonly lane: string;
  readonly n: number;
  readonly fate: Fate;
  /** What the event is about: the sku of a stock level, the day and cents of an order. */
  readonly about: readonly (string | number)[];
  /** The event as it is sent. */
  readonly text: string;
}

export const COUNTRIES = ["DE", "FR", "NO", "JP", "BR"];

/** Rates are whole thousandths, one for each country; set once before anything else is sent. */
export const RATES: Readonly<Record<string, string>> = {
  DE: "1.000",
  FR: "1.000",
  NO: "0.087",
  JP: "0.006",
  BR: "0.171",
};

/** Above that an order raises an alert. */
export const LARGE_CENTS = 99_000;

/** Orders of a lane at which the function that echoes them throws. */
export function unechoed(n: number): boolean {
  return n % 20 === 19;
}

/** Makes the events of one lane, its counters going up by one per stream. */
export class Lane {
  readonly name: string;
  readonly #random: Random;
  readonly #next: Record<StreamName, number> = { orders: 0, payments: 0, stock_levels: 0 };

  constructor(name: string, random: Random) {
    this.name = name;
    this.#random = random;
  }

  event(stream: StreamName): Sent {
    if (stream === "orders" && this.#random.chance(0.01)) return this.#refused();
    const n = this.#next[stream]++;
    const id = `${this.name}-${n}`;
    if (stream === "orders") return this.#order(id, n);
    return stream === "payments" ? this.#payment(id, n) : this.#stockLevel(id, n);
  }

  #order(order_id: string, n: number): Sent {
    const random = this.#random;
    // A cast that fails costs many statements to find, so those are few.
    const fate = random.chance(0.9)
      ? "stored"
      : random.chance(0.02)
        ? "transform"
        : random.pick<Fate>(["filtered", "check"]);
    const day = new Date(Date.UTC(2026, 0, 1) + random.int(0, 4) * 86_400_000);
    const cents = fate === "check" ? -random.int(1, 500) : random.int(1, 99_999);
    const country = random.pick(COUNTRIES);
    const amount = (cents / 100).toFixed(2);
    const note = fate === "transform" ? "n=many" : random.pick([undefined, "n=7", ...NOTES]);
    const fields: [string, unknown][] = [
      ["order_id", order_id],
      ["lane", this.name],
      ["n", n],
      ["customer", fate === "filtered" ? "test" : `c${random.int(1, 50)}`],
      ["country", country],
      ["amount", random.chance(0.5) ? amount : Raw.number(amount)],
      ["placed_at", new Date(day.getTime() + random.int(0, 86_399_999)).toISOString()],
    ];
    if (note !== undefined) fields.push(["note", note]);
    const about = [day.toISOString().slice(0, 10), cents, country];
    return { stream: "orders", id: order_id, lane: this.name, n, fate, about, text: spell(fields, random) };
  }

  #payment(payment_id: string, n: number): Sent {
    const random = this.#random;
    const fields: [string, unknown][] = [
      ["payment_id", payment_id],
      ["lane", this.name],
      ["n", n],
      ["amount", `${random.int(1, 99)}.${random.int(10, 99)}`],
      ["paid_at", "2026-01-03T00:00:00.000Z"],
    ];
    if (random.chance(0.3)) fields.push(["details", { method: random.pick(NOTES) }]);
    return {
      stream: "payments",
      id: payment_id,
      lane: this.name,
      n,
      fate: "stored",
      about: [],
      text: spell(fields, random),
    };
  }

  #stockLevel(change_id: string, n: number): Sent {
    // The lane is the sku's only sender, so its last event says what the table must show.
    const sku = `${this.name}-sku${n % 5}`;
    const fields: [string, unknown][] = [
      ["change_id", change_id],
      ["lane", this.name],
      ["n", n],
      ["sku", sku],
      ["level", this.#random.int(0, 1000)],
    ];
    const text = spell(fields, this.#random);
    return { stream: "stock_levels", id: change_id, lane: this.name, n, fate: "stored", about: [sku], text };
  }

  #refused(): Sent {
    const id = `refused-${this.name}-${this.#random.int(0, 2 ** 31)}`;
    const text = `{"order_id":"${id}","amount":"much"}`;
    return { stream: "orders", id, lane: this.name, n: -1, fate: "door", about: [], text };
  }
}

export function sha256(text: string): string {
  return createHash("sha256").update(text).digest("base64url");
}

/** Text that is easily changed on its way: escapes, other scripts, quotes, what looks like markup. */
const NOTES = [
  "plain",
  "Grüße ☃ 👍🏽",
  'a "quoted" \\ thing',
  "tab\there\u2028line",
  "日本語 テキスト",
  "{not:json}",
  "é e\u0301",
];

/** A number spelled as it stands. */
class Raw {
  readonly text: string;

  private constructor(text: string) {
    this.text = text;
  }

  static number(text: string): Raw {
    return new Raw(text);
  }
}

/** JSON as different senders spell it: with and without blanks, characters escaped or not. */
function spell(fields: readonly (readonly [string, unknown])[], random: Random): string {
  const blank = random.pick(["", " ", "  "]);
  const escaped = random.chance(0.3);
  const members = fields.map(([name, value]) => {
    let text = value instanceof Raw ? value.text : JSON.stringify(value);
    if (escaped) text = text.replace(/[^\x20-\x7e]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
    return `"${name}":${blank}${text}`;
  });
  return `{${members.join(`,${blank}`)}}`;
}
