import { Random, Weighted } from "../../simulation/random.ts";

/**
 * The shop's world: what it sells, to whom and where. It is the same in every run, whatever the run's seed, so that two
 * runs are two days of one shop.
 */
export interface Assortment {
  readonly products: readonly Product[];
  readonly customers: readonly Customer[];
  readonly countries: readonly Country[];
  /** Draws an index of `products` by popularity. */
  readonly popularity: Weighted;
  /** Draws an index of `customers` by how often they buy. */
  readonly loyalty: Weighted;
}

export interface Product {
  readonly stockCode: string;
  readonly description: string;
  readonly priceCents: number;
  /** Products of one family are variants of a thing and are often bought together: first index and count. */
  readonly familyStart: number;
  readonly familySize: number;
}

export interface Customer {
  readonly id: string;
  readonly country: Country;
  readonly cardHash: string;
  readonly ip: string;
}

export interface Country {
  readonly name: string;
  readonly code: string;
  readonly region: string;
  /** Share of the customers. */
  readonly weight: number;
}

const WORLD_SEED = 20101201;
const PRODUCT_COUNT = 3_800;
const CUSTOMER_COUNT = 4_400;
const FAMILY_SIZE = 5;

/** Weights follow the orders of the Online Retail data set (Chen 2015), a British wholesaler of gifts. */
export const COUNTRIES: readonly Country[] = [
  { name: "United Kingdom", code: "GB", region: "Home", weight: 907 },
  { name: "Germany", code: "DE", region: "Western Europe", weight: 23.3 },
  { name: "France", code: "FR", region: "Western Europe", weight: 17.8 },
  { name: "EIRE", code: "IE", region: "Western Europe", weight: 13.9 },
  { name: "Belgium", code: "BE", region: "Western Europe", weight: 4.6 },
  { name: "Spain", code: "ES", region: "Southern Europe", weight: 4.1 },
  { name: "Netherlands", code: "NL", region: "Western Europe", weight: 3.9 },
  { name: "Switzerland", code: "CH", region: "Western Europe", weight: 2.9 },
  { name: "Portugal", code: "PT", region: "Southern Europe", weight: 2.7 },
  { name: "Australia", code: "AU", region: "Asia Pacific", weight: 2.7 },
  { name: "Italy", code: "IT", region: "Southern Europe", weight: 2.1 },
  { name: "Finland", code: "FI", region: "Nordics", weight: 1.9 },
  { name: "Sweden", code: "SE", region: "Nordics", weight: 1.8 },
  { name: "Norway", code: "NO", region: "Nordics", weight: 1.5 },
  { name: "Channel Islands", code: "JE", region: "Home", weight: 1.3 },
  { name: "Japan", code: "JP", region: "Asia Pacific", weight: 1.1 },
  { name: "Poland", code: "PL", region: "Eastern Europe", weight: 0.9 },
  { name: "Denmark", code: "DK", region: "Nordics", weight: 0.8 },
  { name: "Cyprus", code: "CY", region: "Southern Europe", weight: 0.8 },
  { name: "Austria", code: "AT", region: "Western Europe", weight: 0.7 },
  { name: "Hong Kong", code: "HK", region: "Asia Pacific", weight: 0.6 },
  { name: "Singapore", code: "SG", region: "Asia Pacific", weight: 0.4 },
  { name: "Malta", code: "MT", region: "Southern Europe", weight: 0.4 },
  { name: "Israel", code: "IL", region: "Middle East", weight: 0.3 },
  { name: "Iceland", code: "IS", region: "Nordics", weight: 0.3 },
  { name: "USA", code: "US", region: "Americas", weight: 0.3 },
  { name: "Canada", code: "CA", region: "Americas", weight: 0.2 },
  { name: "Greece", code: "GR", region: "Southern Europe", weight: 0.2 },
];

/** Price points in pence with the number of products at each; shops do not price at random. */
// biome-ignore format: a table of pairs reads better dense
const PRICE_POINTS: readonly (readonly [number, number])[] = [
  [21, 3], [29, 8], [39, 14], [42, 42], [55, 18], [65, 18], [79, 8], [83, 28], [85, 54], [125, 92], [145, 25], [165, 72],
  [195, 26], [208, 30], [210, 34], [246, 30], [255, 26], [289, 8], [295, 52], [329, 20], [375, 36], [413, 25], [425, 16],
  [495, 40], [579, 12], [595, 16], [746, 14], [795, 30], [829, 15], [850, 16], [995, 24], [1079, 8], [1275, 12], [1495, 5],
  [1695, 7], [2495, 1.5], [3995, 0.5],
];

const COLOURS = ["RED", "BLUE", "GREEN", "PINK", "IVORY", "BLACK", "CREAM", "SILVER"];
// biome-ignore format: a word list
const STYLES = [
  "RETROSPOT", "VINTAGE", "PAISLEY", "POLKADOT", "ENAMEL", "WICKER", "ZINC", "GLASS", "PAPER", "FELT", "GINGHAM", "LACE",
  "WOODLAND", "CIRCUS", "GARDEN", "BOTANICAL", "NORDIC", "SKULL", "STRAWBERRY", "TOADSTOOL", "FELTCRAFT", "CERAMIC", "OAK",
  "ANTIQUE", "SPACEBOY", "DOLLY GIRL", "APPLE", "HERB", "DAISY", "ROSE",
];
// biome-ignore format: a word list
const THINGS = [
  "LUNCH BAG", "CAKE STAND", "T-LIGHT HOLDER", "BUNTING", "MUG", "TEA TOWEL", "PHOTO FRAME", "JAM JAR", "DOORMAT", "ALARM CLOCK",
  "HOT WATER BOTTLE", "JUMBO BAG", "CAKE CASES", "NAPKINS", "LANTERN", "COAT HANGER", "STORAGE BOX", "GIFT WRAP", "DRAWER KNOB",
  "PLAYING CARDS", "APRON", "TEAPOT", "WATERING CAN", "BIRD HOUSE", "CUSHION COVER", "CANDLE", "NOTEBOOK", "UMBRELLA",
  "SEWING KIT", "PARTY BAGS",
];

export function assortment(): Assortment {
  const random = new Random(WORLD_SEED);
  const products = inventProducts(random);
  const customers = inventCustomers(random);
  return {
    products,
    customers,
    countries: COUNTRIES,
    // Zipf–Mandelbrot, fitted to the real shop: its ten best sellers make 3 % of the lines, its hundred best 19 %.
    popularity: new Weighted(products.map((_, rank) => (rank + 70) ** -0.95)),
    // Log-normal: the tenth of the customers who buy most place 43 % of the orders.
    loyalty: new Weighted(customers.map(() => random.logNormal(1, 1.1))),
  };
}

function inventProducts(random: Random): Product[] {
  const prices = new Weighted(PRICE_POINTS.map(([, weight]) => weight));
  const products: Product[] = [];
  for (let family = 0; products.length < PRODUCT_COUNT; family++) {
    const familyStart = products.length;
    // 30 styles and 30 things make 900 names, more than there are families.
    const name = `${STYLES[family % STYLES.length]} ${THINGS[(family + Math.floor(family / STYLES.length)) % THINGS.length]}`;
    const [priceCents] = PRICE_POINTS[prices.draw(random)] as readonly [number, number];
    for (let variant = 0; variant < FAMILY_SIZE; variant++) {
      products.push({
        stockCode: `${20_000 + family * 7}${"ABCDE"[variant]}`,
        description: `${COLOURS[(family + variant) % COLOURS.length]} ${name}`,
        priceCents,
        familyStart,
        familySize: FAMILY_SIZE,
      });
    }
  }
  return products;
}

function inventCustomers(random: Random): Customer[] {
  const homes = new Weighted(COUNTRIES.map((c) => c.weight));
  return Array.from({ length: CUSTOMER_COUNT }, (_, i) => ({
    id: String(20_001 + i),
    country: COUNTRIES[homes.draw(random)] as Country,
    cardHash: cardHash(random),
    // 198.18.0.0/15 is kept free for tests (RFC 2544), so no real host is named.
    ip: `198.${18 + random.below(2)}.${random.below(256)}.${1 + random.below(254)}`,
  }));
}

export function cardHash(random: Random): string {
  return Array.from({ length: 16 }, () => "0123456789abcdef"[random.below(16)]).join("");
}
