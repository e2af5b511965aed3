/**
 * Draws the pictures of docs/images anew: `node test/console/screenshots.ts`. They are of examples/securecart with simulated customers, half a minute after its start, and of what a broken sender
 * sends to it.
 */
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { OpenConsole } from "./open-console.ts";

const IMAGES = resolve(import.meta.dirname, "../../docs/images");
const SCREEN = { width: 1280, height: 800 };
const RUNS_MS = 30_000;

const CLICKS = `select date_trunc('second', _received_at) as second, device, count(*) as clicks
from clicks group by all order by second`;
/** What a sender that is not well might send. */
const PAYMENT = {
  ...{ payment_id: "p-17", invoice_no: "536365", card_hash: "9f86d081884c7d65", card_country: "GB", ip: "81.2.69.142" },
  ...{ ip_country: "GB", amount: "17.85", status: "captured", paid_at: "2026-01-05T10:00:00Z" },
};

const c = await OpenConsole.start("examples/securecart", ["--simulate"]);
try {
  await c.platform.post("payments", [
    { ...PAYMENT, status: "paid" },
    { ...PAYMENT, payment_id: "p-18", status: "paid" },
    { ...PAYMENT, payment_id: "p-19", ip: "81.2.69" },
    '{"payment_id": "p-20", "amount": ',
  ]);
  await sleep(RUNS_MS);
  const of = { stream: "payments", stage: "door", code: "EVENT_INVALID" };
  const { deadLetters } = await c.call<{ deadLetters: { id: string }[] }>(
    "GET",
    `/v1/dead-letters?${new URLSearchParams({ ...of, limit: "1" })}`,
  );
  const pages = [
    ["streams", "/streams/clicks", "text=By source"],
    ["table", "/tables/gold.sales_daily/profile", "text=distinct"],
    ["sql", `/sql?${new URLSearchParams({ sql: CLICKS, view: "area" })}`, ".chart canvas"],
    ["ledger", "/ledger", "text=every event is accounted for"],
    ["dead-letters", `/dead-letters?${new URLSearchParams({ ...of, id: String(deadLetters[0]?.id) })}`, "text=Mended"],
  ] as const;
  for (const dark of [false, true]) {
    for (const [name, path, there] of pages) {
      const page = await c.open(path, { viewport: SCREEN, dark });
      await page.locator(there).first().waitFor();
      await page
        .getByText(/^Loading /)
        .first()
        .waitFor({ state: "detached" });
      await sleep(3_000);
      await page.screenshot({ path: join(IMAGES, `${name}-${dark ? "dark" : "light"}.png`) });
      await page.close();
    }
  }
} finally {
  await c.stop();
}
