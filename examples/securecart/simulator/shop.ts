import { Random, Weighted } from "../../simulation/random.ts";
import { type Assortment, assortment, type Customer, cardHash, type Product } from "./assortment.ts";

/** What happens in the shop, as the events its systems would send, in their order. Knows nothing of rates, faults or the network. */
export interface ShopRecord {
  readonly stream: "order_lines" | "clicks" | "payments" | "inventory" | "countries";
  readonly fields: Readonly<Record<string, unknown>>;
}

// Shares of the Online Retail data set: 22,064 sales and 3,836 cancellations; 16 % of the sales know no customer.
const CANCELLATIONS_PER_SALE = 0.174;
const GUEST_SHARE = 0.16;
const GUEST_ONE_LINER_SHARE = 0.74;
const STOCK_CORRECTION_SHARE = 0.75;
/** Visits that end without an order, for each order of a known customer. */
const IDLE_VISITS_PER_ORDER = 2;
/** The next product of a basket is a variant of the one before, say the same mug in blue. */
const SAME_FAMILY_SHARE = 0.2;
/** A till reports a product's new stock after about every tenth line. */
const STOCK_REPORT_SHARE = 0.1;
const DISCONTINUED_SHARE = 0.002;
const DECLINED_SHARE = 0.03;

/** Quantities that people and cartons make likely; the rest of the lines are drawn from a long tail. */
// biome-ignore format: pairs of quantity and weight
const QUANTITIES: readonly (readonly [number, number])[] = [
  [1, 273], [2, 151], [12, 113], [6, 75], [4, 71], [3, 68], [24, 44], [10, 41], [8, 24], [5, 22], [48, 11], [25, 9], [20, 9], [16, 8],
];
const TAIL_WEIGHT = 81;

interface PastOrder {
  readonly customer: Customer;
  readonly invoiceNo: string;
  readonly lines: readonly { product: Product; quantity: number }[];
}

export class Shop {
  readonly #random: Random;
  readonly #world: Assortment;
  /** Visits without an order, orders, sales at the till, cancellations. */
  readonly #happenings = new Weighted([
    (1 - GUEST_SHARE) * IDLE_VISITS_PER_ORDER,
    1 - GUEST_SHARE,
    GUEST_SHARE,
    CANCELLATIONS_PER_SALE,
  ]);
  readonly #quantities = new Weighted([...QUANTITIES.map(([, weight]) => weight), TAIL_WEIGHT]);
  readonly #stock: Int32Array;
  readonly #lastCountedMs: Float64Array;
  readonly #recent: PastOrder[] = [];
  /** Tells the ids of one run from those of another. Digits only: a leading `C` would make an invoice a cancellation. */
  readonly #run: string;
  #invoices = 0;
  #sessions = 0;
  #clicks = 0;
  #payments = 0;

  constructor(seed: number, world: Assortment = assortment()) {
    this.#random = new Random(seed);
    this.#world = world;
    this.#run = String(100_000 + this.#random.below(900_000));
    this.#stock = Int32Array.from(world.products, () => 200 + this.#random.below(1_800));
    this.#lastCountedMs = new Float64Array(world.products.length);
  }

  /** What the shop's systems send when they are switched on: the countries, and a count of the best sellers. */
  open(timeMs: number): ShopRecord[] {
    const updated_at = iso(timeMs);
    const countries = this.#world.countries.map(({ name, code, region }): ShopRecord => {
      return { stream: "countries", fields: { country: name, code, region, updated_at } };
    });
    return [...countries, ...Array.from({ length: 200 }, (_, product) => this.#count(product, timeMs, false))];
  }

  /** The next thing that happens at `timeMs`: a visit with or without an order, a sale at the till, or a return. */
  next(timeMs: number): ShopRecord[] {
    const random = this.#random;
    switch (this.#happenings.draw(random)) {
      case 0:
        return this.#visit(this.#anyone(), timeMs, undefined);
      case 1:
        return this.#order(this.#anyone(), timeMs);
      case 2:
        return this.#till(timeMs);
      default:
        return this.#cancellation(timeMs);
    }
  }

  /** Many small payments with one card from abroad: somebody tries out a stolen number. */
  fraud(timeMs: number): ShopRecord[] {
    const random = this.#random;
    const card_hash = cardHash(random);
    const ip = `203.0.113.${1 + random.below(254)}`; // kept free for documentation (RFC 5737)
    return Array.from({ length: 30 + random.below(30) }, (_, i) => {
      return this.#payment(timeMs, {
        invoiceNo: this.#invoice(),
        card: { card_hash, card_country: "GB", ip, ip_country: "KP" },
        cents: 50 + random.below(250),
        status: i > 4 && random.chance(0.6) ? "declined" : "captured",
      });
    });
  }

  #anyone(): Customer {
    return this.#world.customers[this.#world.loyalty.draw(this.#random)] as Customer;
  }

  #order(customer: Customer, timeMs: number): ShopRecord[] {
    const invoiceNo = this.#invoice();
    // Median 15, mean 21: most baskets are small and a few fill a van.
    const lines = this.#basket(Math.max(1, Math.round(this.#random.logNormal(15, 0.85))));
    this.#remember({ customer, invoiceNo, lines });
    const cents = lines.reduce((sum, l) => sum + l.quantity * l.product.priceCents, 0);
    const status = this.#random.chance(DECLINED_SHARE) ? "declined" : "captured";
    return [
      ...this.#visit(customer, timeMs, lines[0]?.product),
      ...this.#lines(invoiceNo, lines, customer, customer.country.name, timeMs),
      this.#payment(timeMs, { invoiceNo, card: cardOf(customer), cents, status }),
    ];
  }

  /** Sales without a known customer: stock corrections and gifts at no price, small sales, and now and then a whole day's takings. */
  #till(timeMs: number): ShopRecord[] {
    const random = this.#random;
    const single = random.chance(GUEST_ONE_LINER_SHARE);
    const lines = this.#basket(single ? 1 : Math.max(2, Math.round(random.logNormal(105, 0.85))));
    const country = random.chance(0.985) ? "United Kingdom" : random.chance(0.7) ? "EIRE" : "Hong Kong";
    if (!single || !random.chance(STOCK_CORRECTION_SHARE)) {
      return this.#lines(this.#invoice(), lines, undefined, country, timeMs);
    }
    const lost = random.chance(0.62);
    const corrected = lines.map(({ product, quantity }) => ({
      product,
      quantity: lost ? -quantity : quantity,
      cents: 0,
    }));
    return this.#lines(this.#invoice(), corrected, undefined, country, timeMs);
  }

  #cancellation(timeMs: number): ShopRecord[] {
    const random = this.#random;
    if (this.#recent.length === 0) return this.#order(this.#anyone(), timeMs);
    const order = random.pick(this.#recent);
    // Median 1, mean 2.4: mostly one thing comes back, seldom the whole basket.
    const wanted = Math.max(1, Math.round(random.logNormal(1.4, 1.15)));
    const from = random.below(Math.max(1, order.lines.length - wanted + 1));
    const lines = order.lines.slice(from, from + wanted).map(({ product, quantity }) => {
      return { product, quantity: -(1 + random.below(quantity)) };
    });
    const invoiceNo = `C${this.#invoice()}`;
    const cents = -lines.reduce((sum, l) => sum + l.quantity * l.product.priceCents, 0);
    return [
      ...this.#lines(
        invoiceNo,
        lines,
        random.chance(0.95) ? order.customer : undefined,
        order.customer.country.name,
        timeMs,
      ),
      this.#payment(timeMs, { invoiceNo, card: cardOf(order.customer), cents, status: "refunded" }),
    ];
  }

  #basket(size: number): { product: Product; quantity: number }[] {
    const random = this.#random;
    const { products, popularity } = this.#world;
    const chosen = new Set<number>();
    let previous = popularity.draw(random);
    while (chosen.size < Math.min(size, products.length / 2)) {
      const { familyStart, familySize } = products[previous] as Product;
      const next = random.chance(SAME_FAMILY_SHARE) ? familyStart + random.below(familySize) : popularity.draw(random);
      chosen.add(next);
      previous = next;
    }
    return Array.from(chosen, (index) => ({ product: products[index] as Product, quantity: this.#quantity() }));
  }

  #quantity(): number {
    const [quantity] = QUANTITIES[this.#quantities.draw(this.#random)] ?? [];
    return quantity ?? Math.min(5_000, Math.max(7, Math.round(this.#random.logNormal(30, 1.1))));
  }

  #lines(
    invoiceNo: string,
    lines: readonly { product: Product; quantity: number; cents?: number }[],
    customer: Customer | undefined,
    country: string,
    timeMs: number,
  ): ShopRecord[] {
    const invoice_date = iso(Math.floor(timeMs / 1000) * 1000);
    return lines.flatMap(({ product, quantity, cents = product.priceCents }, i) => {
      const line: ShopRecord = {
        stream: "order_lines",
        fields: {
          invoice_no: invoiceNo,
          line_id: `${invoiceNo}-${i + 1}`,
          stock_code: product.stockCode,
          ...(cents === 0 ? {} : { description: product.description }),
          quantity,
          invoice_date,
          unit_price: cents / 100,
          ...(customer === undefined ? {} : { customer_id: customer.id }),
          country,
        },
      };
      return [line, ...this.#take(product, quantity, timeMs)];
    });
  }

  /** Stock follows what is sold, and a shelf that runs empty is filled up. */
  #take(product: Product, quantity: number, timeMs: number): ShopRecord[] {
    const index = product.familyStart + "ABCDE".indexOf(product.stockCode.at(-1) as string);
    const left = (this.#stock[index] as number) - quantity;
    this.#stock[index] = left < 0 ? 500 + this.#random.below(2_000) : left;
    if (!this.#random.chance(STOCK_REPORT_SHARE)) return [];
    return [this.#count(index, timeMs, this.#random.chance(DISCONTINUED_SHARE))];
  }

  #count(index: number, timeMs: number, discontinued: boolean): ShopRecord {
    const { stockCode } = this.#world.products[index] as Product;
    // Product and time are the count's id, so no two counts of a product share a millisecond.
    const countedMs = Math.max(timeMs, (this.#lastCountedMs[index] as number) + 1);
    this.#lastCountedMs[index] = countedMs;
    const on_hand = this.#stock[index] as number;
    return {
      stream: "inventory",
      fields: { stock_code: stockCode, on_hand, discontinued, counted_at: iso(countedMs) },
    };
  }

  /** The pages a visitor sees before `timeMs`; those who buy end on the page that thanks them. */
  #visit(visitor: Customer, timeMs: number, bought: Product | undefined): ShopRecord[] {
    const random = this.#random;
    const session_id = `s${this.#run}-${++this.#sessions}`;
    const device = random.chance(0.55) ? "desktop" : random.chance(0.85) ? "mobile" : "tablet";
    const customer_id = bought !== undefined || random.chance(0.3) ? visitor.id : undefined;
    const pages: { page: string; product?: Product }[] = [{ page: random.chance(0.6) ? "home" : "search" }];
    for (let seen = 1 + Math.floor(random.logNormal(2, 0.8)); seen > 0; seen--) {
      if (random.chance(0.25)) pages.push({ page: "search" });
      pages.push({ page: "product", product: this.#world.products[this.#world.popularity.draw(random)] as Product });
    }
    if (bought !== undefined) {
      pages.push({ page: "product", product: bought }, { page: "cart" }, { page: "checkout" }, { page: "thanks" });
    } else if (random.chance(0.25)) {
      pages.push({ page: "cart" }, ...(random.chance(0.4) ? [{ page: "checkout" }] : []));
    }
    let clickedMs = timeMs - pages.length * 20_000;
    return pages.map(({ page, product }) => {
      clickedMs += 1_000 + random.below(19_000);
      return {
        stream: "clicks",
        fields: {
          click_id: `k${this.#run}-${++this.#clicks}`,
          session_id,
          ...(customer_id === undefined ? {} : { customer_id }),
          page,
          ...(product === undefined ? {} : { stock_code: product.stockCode }),
          device,
          clicked_at: iso(clickedMs),
        },
      };
    });
  }

  #payment(
    timeMs: number,
    p: { invoiceNo: string; card: Record<string, string>; cents: number; status: string },
  ): ShopRecord {
    return {
      stream: "payments",
      fields: {
        payment_id: `p${this.#run}-${++this.#payments}`,
        invoice_no: p.invoiceNo,
        ...p.card,
        amount: p.cents / 100,
        status: p.status,
        paid_at: iso(timeMs),
      },
    };
  }

  #invoice(): string {
    return `${this.#run}${String(++this.#invoices).padStart(6, "0")}`;
  }

  /** Returns come from the last few hundred orders. */
  #remember(order: PastOrder): void {
    this.#recent.push(order);
    if (this.#recent.length > 500) this.#recent.shift();
  }
}

function cardOf(customer: Customer): Record<string, string> {
  const { cardHash: card_hash, country, ip } = customer;
  return { card_hash, card_country: country.code, ip, ip_country: country.code };
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
