/** Questions in the console: how far they are, how they are stopped, how they look, and how they hang on a wall. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { type ConsolePage, DESK, OpenConsole, PHONE, tooWide, violations } from "./open-console.ts";

let c: OpenConsole;
before(async () => {
  c = await OpenConsole.start("test/console/project");
  const placed_at = new Date().toISOString();
  const orders = Array.from({ length: 200 }, (_, i) => ({
    ...{ order_id: `o-${i}`, customer_id: `c-${i % 7}`, country: "DE", amount: 10 + i, placed_at },
  }));
  assert.equal((await c.platform.post("orders", orders)).body.accepted, 200);
});
after(() => c?.stop());

/** Of a table, for of those the engine has an estimate how far it is. */
const LONG = "select count(*) from orders a, orders b, orders c, orders d, orders e where a.amount + e.amount > 3";
const asking = (sql: string, view = "auto") => `/sql?${new URLSearchParams({ sql, view })}`;
const running = async () => (await c.call<{ queries: { id: string }[] }>("GET", "/v1/queries")).queries;

/** The editor holds what the cell asks. */
async function ready(page: ConsolePage): Promise<void> {
  await page.locator(".cm-content").waitFor();
}

test("a long question shows how far it is, and Escape ends it here and on the platform", async () => {
  const page = await c.open(asking(LONG));
  try {
    const bar = page.getByRole("progressbar", { name: "Progress of statement 1" });
    await bar.waitFor();
    await page.locator("[role=progressbar][aria-valuenow]").waitFor();
    assert.equal((await running()).length, 1);
    assert.deepEqual(await violations(page), []);
    await page.keyboard.press("Escape");
    await page.getByText(/^Cancelled after /).waitFor();
    for (let i = 0; i < 200 && (await running()).length > 0; i++);
    assert.deepEqual(await running(), []);
    assert.equal(await bar.count(), 0);
    assert.deepEqual(await violations(page), []);
  } finally {
    await page.close();
  }
});

test("the button ends it as well, and what the cell gave before stays in sight", async () => {
  const page = await c.open(asking("select 42 as answer"));
  try {
    await page.locator(".big-numbers >> text=42").waitFor();
    await ready(page);
    await page.locator(".cm-content").fill(LONG);
    await page.getByRole("button", { name: "Run", exact: true }).click();
    await page.getByRole("button", { name: /^Cancel/ }).click();
    await page.getByText(/^Cancelled after .* Below is what it gave before\.$/).waitFor();
    assert.equal(await page.locator(".big-numbers >> text=42").count(), 1);
  } finally {
    await page.close();
  }
});

test("a question of another client is found from the page, and cancelled there; whoever asked is told", async () => {
  const asked = fetch(`${c.platform.url}/v1/sql`, {
    method: "POST",
    headers: { authorization: `Bearer ${c.platform.key}`, "content-type": "application/json" },
    body: JSON.stringify({ sql: LONG, id: "of-a-script" }),
  });
  const tab = await c.open(asking(LONG));
  const page = await c.open("/sql");
  try {
    const elsewhere = page.getByRole("region", { name: "Running elsewhere" });
    await elsewhere.getByRole("row").nth(2).waitFor();
    assert.deepEqual(await violations(page), []);
    assert.equal(await elsewhere.getByText(LONG).count(), 2);
    // The older one first: the script's.
    await elsewhere.getByRole("button", { name: "Cancel" }).first().click();
    const response = await asked;
    assert.equal(response.status, 499);
    await elsewhere.getByRole("row").nth(2).waitFor({ state: "detached" });
    await elsewhere.getByRole("button", { name: "Cancel" }).first().click();
    await tab.getByText(/^Cancelled from elsewhere after /).waitFor();
    await elsewhere.waitFor({ state: "detached" });
  } finally {
    await tab.close();
    await page.close();
  }
});

/** What is drawn on the chart's canvas: how many colours, the background aside. */
const colours = (page: ConsolePage) =>
  page.evaluate(`(() => {
    const canvas = document.querySelector(".chart canvas");
    if (canvas === null) return 0;
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const seen = new Set();
    for (let i = 0; i < data.length; i += 4) if (data[i + 3] > 0) seen.add(data[i] + " " + data[i + 1] + " " + data[i + 2]);
    return seen.size;
  })()`) as Promise<number>;

const SALES =
  "select make_date(2026, 1, d::int) as day, c as country, d * 10 as revenue, d as orders from range(1, 20) r(d), (values ('DE'), ('FR')) v(c) order by all";
const PLACES =
  "select * from (values ('Berlin', 13.4, 52.5, 120), ('Paris', 2.35, 48.86, 300), ('Quito', -78.5, -0.2, 20)) v(city, lon, lat, orders)";

for (const [sql, kinds] of [
  [SALES, ["line", "bar", "area", "scatter", "heat map"]],
  [PLACES, ["map"]],
] as const) {
  test(`a result as ${kinds.join(", ")}: drawn in light and dark, and saved as a picture`, async () => {
    for (const dark of [false, true]) {
      const page = await c.open(asking(sql), { dark });
      try {
        for (const kind of kinds) {
          await page.getByRole("combobox", { name: "Show as" }).selectOption(kind);
          await page.getByRole("img", { name: new RegExp(`^${kind} of `) }).waitFor();
          assert.ok((await colours(page)) > 3, `nothing is drawn as ${kind}`);
          // The address says it, for whoever it is sent to.
          assert.equal(new URL(page.url()).searchParams.get("view"), kind);
          const saved = page.waitForEvent("download");
          await page.getByRole("button", { name: "PNG" }).click();
          assert.equal((await saved).suggestedFilename(), "chart.png");
        }
        assert.deepEqual(await violations(page), []);
        assert.deepEqual(page.complaints, []);
      } finally {
        await page.close();
      }
    }
  });
}

test("numbers of one row are shown big, with their names and every digit", async () => {
  const page = await c.open(
    asking("select 1234567 as orders, 98765432109876.25::decimal(18,2) as revenue, -1.5::double as change"),
  );
  try {
    const numbers = page.locator(".big-numbers dd");
    await numbers.first().waitFor();
    assert.deepEqual(await numbers.allTextContents(), ["1,234,567", "98,765,432,109,876.25", "-1.5"]);
    assert.deepEqual(await page.locator(".big-numbers dt").allTextContents(), ["orders", "revenue", "change"]);
  } finally {
    await page.close();
  }
});

test("a notebook as a dashboard: results and nothing else, refreshed by itself, with parameters from the address", async () => {
  const { notebook } = await c.call<{ notebook: { id: string; version: number } }>("POST", "/v1/notebooks", {
    name: "Wall",
    refreshS: 5,
    cells: [
      { kind: "parameters", values: { country: "FR" } },
      { id: "t", kind: "text", text: "# How it goes" },
      { id: "a", kind: "sql", sql: "select $country as country, now()::varchar as at", view: "grid" },
      { id: "b", kind: "sql", sql: "select 7 as lucky", view: "number" },
      { id: "c", kind: "sql", sql: SALES, view: "bar" },
    ],
  });
  const path = `/sql/${notebook.id}/dashboard`;
  for (const look of [{ viewport: DESK }, { viewport: DESK, dark: true }, { viewport: PHONE, dark: true }]) {
    const page = await c.open(`${path}?country=DE`, look);
    try {
      await page.locator(".chart canvas").waitFor();
      await page.locator("[role=gridcell]", { hasText: /^DE$/ }).waitFor();
      assert.equal(await page.locator(".cm-content, nav, .tools").count(), 0);
      assert.deepEqual(await violations(page), []);
      assert.ok((await tooWide(page)) <= 0);
      assert.deepEqual(page.complaints, []);
    } finally {
      await page.close();
    }
  }
  const page = await c.open(path);
  try {
    await page.locator("[role=gridcell]", { hasText: /^FR$/ }).waitFor();
    const at = page.locator("[role=gridcell]").nth(1);
    const first = await at.textContent();
    // Somebody changes the notebook, and it comes with a refresh.
    await c.call("PUT", `/v1/notebooks/${notebook.id}`, {
      ...{ version: notebook.version, name: "Wall of tomorrow", refreshS: 5 },
      cells: [{ id: "a", kind: "sql", sql: "select 'new' as what, now()::varchar as at", view: "grid" }],
    });
    await page.getByRole("heading", { name: "Wall of tomorrow" }).waitFor();
    await page.locator("[role=gridcell]", { hasText: /^new$/ }).waitFor();
    assert.notEqual(await at.textContent(), first);
  } finally {
    await page.close();
  }
});
