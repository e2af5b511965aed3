import assert from "node:assert/strict";
import { test } from "node:test";
import { drawTable, textWidth } from "../../src/cli/draw-table.ts";

test("numbers stand at the right, texts at the left, null is a mark of its own", () => {
  const drawn = drawTable(
    [{ name: "country" }, { name: "orders" }, { name: "revenue", align: "right" }],
    [
      ["DE", 12, "1024.50"],
      ["FR", 7, null],
      ["", null, "3.00"],
    ],
  );
  assert.equal(
    drawn,
    [
      "country  orders  revenue",
      "───────  ──────  ───────",
      "DE           12  1024.50",
      "FR            7        –",
      "              –     3.00",
      "",
    ].join("\n"),
  );
});

test("no rows draw the head alone", () => {
  assert.equal(drawTable([{ name: "n" }], []), "n\n─\n");
});

test("a table wider than the terminal is cut where its texts are widest, and says so; numbers stay whole", () => {
  const drawn = drawTable([{ name: "text" }, { name: "number" }], [["x".repeat(100), 1234567890123]], 40);
  const [, , row] = drawn.split("\n");
  assert.ok(textWidth(row!) <= 40, row);
  assert.match(row!, /^x+…\s+1234567890123$/);
});

test("a table that cannot be narrow enough is drawn wider rather than made unreadable", () => {
  const row = drawTable([{ name: "a" }, { name: "b" }], [["x".repeat(50), "y".repeat(50)]], 10).split("\n")[2]!;
  assert.equal(row, `${"x".repeat(7)}…  ${"y".repeat(7)}…`);
});

test("wide characters and combining marks keep the columns aligned", () => {
  const rows = drawTable(
    [{ name: "name" }, { name: "n" }],
    [
      ["日本", 1],
      ["e\u0301tude", 2],
      ["🙂", 3],
    ],
  )
    .trimEnd()
    .split("\n");
  assert.deepEqual(new Set(rows.slice(2).map(textWidth)), new Set([textWidth(rows[1]!)]));
  assert.equal(textWidth("日本"), 4);
  assert.equal(textWidth("e\u0301"), 1);
  assert.equal(textWidth("👩‍👩‍👧"), 2);
});

test("a value cannot move the cursor, break the line or turn the text around", () => {
  const drawn = drawTable([{ name: "v" }], [["a\nb\tc\u001b[31mred\u0000\u007f\u202eback"]]);
  assert.equal(drawn.split("\n")[2], "a\\nb\\tc\\u001b[31mred\\u0000\\u007f\\u202eback");
});

test("objects and lists are shown as JSON, large integers digit by digit", () => {
  const row = drawTable([{ name: "o" }, { name: "n" }], [[{ a: [1, null] }, 9007199254740993n]]).split("\n")[2];
  assert.equal(row, '{"a":[1,null]}  9007199254740993');
});
