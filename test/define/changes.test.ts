import assert from "node:assert/strict";
import { test } from "node:test";
import { compareColumns } from "../../src/define/changes.ts";
import type { Column, ColumnType } from "../../src/define/project.ts";

const column = (name: string, type: ColumnType | "long" | "string" | "integer" | "json", nullable = true): Column => ({
  name,
  type: typeof type === "string" ? { kind: type } : type,
  nullable,
});
const struct = (...fields: Column[]): ColumnType => ({ kind: "struct", fields });
const array = (element: ColumnType, elementNullable = true): ColumnType => ({
  kind: "array",
  element,
  elementNullable,
});

test("the same columns in another order are the same, and the stored order stays", () => {
  const changes = compareColumns(
    [column("a", "long"), column("b", "string")],
    [column("b", "string"), column("a", "long")],
  );
  assert.deepEqual(changes, { kind: "same", differences: [], columns: [column("a", "long"), column("b", "string")] });
});

test("a new column is additive and nullable even where the definition requires it", () => {
  const changes = compareColumns(
    [column("a", "long", false)],
    [column("n", "string", false), column("a", "long", false)],
  );
  assert.equal(changes.kind, "additive");
  assert.deepEqual(changes.columns, [column("a", "long", false), column("n", "string", true)]);
  assert.deepEqual(
    changes.differences.map((d) => [d.path, d.change, d.wanted]),
    [["n", "added", "VARCHAR"]],
  );
  // The next start compares with what was applied, and must find nothing left to do.
  assert.equal(
    compareColumns(changes.columns, [column("n", "string", false), column("a", "long", false)]).kind,
    "same",
  );
});

test("new fields deep in structs, lists and maps are additive", () => {
  const map = (value: ColumnType): ColumnType => ({ kind: "map", value, valueNullable: true });
  const before = [column("x", array(struct(column("m", map(struct(column("k", "long")))))))];
  const after = [column("x", array(struct(column("m", map(struct(column("new", "long"), column("k", "long")))))))];
  const changes = compareColumns(before, after);
  assert.equal(changes.kind, "additive");
  assert.equal(changes.differences[0]?.path, "x[].m{}.new");
  assert.deepEqual(changes.columns, [
    column("x", array(struct(column("m", map(struct(column("k", "long"), column("new", "long"))))))),
  ]);
});

test("a required column that becomes nullable is additive, elements of lists and values of maps as well", () => {
  const before = [column("a", array({ kind: "long" }, false), false)];
  const after = [column("a", array({ kind: "long" }, true), true)];
  const changes = compareColumns(before, after);
  assert.equal(changes.kind, "additive");
  assert.deepEqual(changes.columns, after);
  assert.deepEqual(
    changes.differences.map((d) => [d.path, d.change]),
    [
      ["a", "made nullable"],
      ["a[]", "made nullable"],
    ],
  );
  const map = (valueNullable: boolean) => [column("m", { kind: "map", value: { kind: "long" }, valueNullable })];
  assert.deepEqual(compareColumns(map(false), map(true)).columns, map(true));
});

test("a column that is gone is refused, naming the one it may have been renamed to", () => {
  const changes = compareColumns([column("amount", "long")], [column("amount_eur", "long"), column("note", "string")]);
  assert.equal(changes.kind, "incompatible");
  assert.deepEqual(
    changes.differences.map((d) => d.path),
    ["amount"],
  );
  assert.match(changes.differences[0]!.message, /renamed to amount_eur\?.*rebuild/);
  assert.deepEqual(changes.columns, [column("amount", "long")]);
});

test("another type is refused with both types, also a wider one and text that becomes free JSON", () => {
  for (const [before, after] of [
    ["integer", "long"],
    ["long", "string"],
    ["string", "json"],
  ] as const) {
    const changes = compareColumns(
      [column("s", struct(column("f", before)))],
      [column("s", struct(column("f", after)))],
    );
    assert.equal(changes.kind, "incompatible");
    assert.equal(changes.differences[0]?.path, "s.f");
    assert.match(changes.differences[0]!.message, /stored as .* would become .*/);
  }
});

test("a name in another case is another column, so the change is refused", () => {
  assert.equal(compareColumns([column("Day", "long")], [column("day", "long")]).kind, "incompatible");
});
