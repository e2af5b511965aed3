/** Arbitrary events as text: valid, nearly valid and wrong, written in all the ways JSON allows. */
import fc from "fast-check";
import { z } from "zod";
import { decimal } from "../../src/define/decimal.ts";

/** A contract with a column of every kind. */
export const everyKind = z.object({
  id: z.string().min(2).max(8),
  at: z.iso.datetime(),
  offset_at: z.iso.datetime({ offset: true }).optional(),
  day: z.iso.date().nullable(),
  n: z.number().min(-10).max(1000),
  any_number: z.number().optional(),
  small: z.float32().optional(),
  above: z.number().positive().optional(),
  i: z.int32(),
  big: z.int().optional(),
  ok: z.boolean(),
  kind: z.enum(["a", "bé", "c"]),
  price: decimal(12, 2),
  exact: decimal(30, 10).optional(),
  whole: decimal(38, 0).optional(),
  tiny: decimal(10, 10).optional(),
  uuid: z.uuid().optional(),
  text: z.string().nullish(),
  tags: z.array(z.string().nullable()).max(3).optional(),
  moments: z.array(z.iso.datetime({ offset: true })).optional(),
  inner: z.object({ x: z.number(), y: z.string().optional(), at: z.iso.datetime().optional() }).nullish(),
  rates: z.record(z.string(), z.number()).optional(),
  free: z.json().optional(),
  frees: z.array(z.json()).optional(),
});

const quoted = (text: string): string => JSON.stringify(text);

/** The last days of months, which exist or not, with fractions that microseconds hold or not. */
const monthEnd = fc
  .tuple(
    fc.constantFrom("0001", "1900", "2000", "2023", "2024", "9999"),
    fc.integer({ min: 1, max: 12 }),
    fc.integer({ min: 27, max: 31 }),
    fc.constantFrom("", ".5", ".123456", ".1234567", ".123456000", "."),
    fc.constantFrom("Z", "Z", "Z", "+02:00", "-23:59"),
  )
  .map(
    ([year, month, day, fraction, zone]) =>
      `${year}-${String(month).padStart(2, "0")}-${day}T23:59:59${fraction}${zone}`,
  );

export const momentText = fc.oneof(
  monthEnd,
  fc
    .date({ noInvalidDate: true, min: new Date("0001-01-01T00:00:00Z"), max: new Date("9999-12-31T23:59:59.999Z") })
    .map((date) => date.toISOString()),
  fc.stringMatching(
    /^(0000|0001|1582|1900|2024|2000|9999)-(00|01|02|12|13)-(00|01|28|29|30|31)[T ](00|23|24):(00|59|60):(00|59|60)(\.\d{0,3}|\.\d{4,6}|\.\d{6}0{1,3}|\.\d{7,9})?(Z|z|\+02:00|-23:59|\+23:59|\+24:00|\+02|\+0200|-00:00|)$/,
  ),
  fc.constantFrom(
    "epoch",
    "infinity",
    "now",
    "2024-1-1T00:00:00Z",
    "2024-01-01T00:00Z",
    "2024-01-01",
    " 2024-01-01T00:00:00Z",
    "+2024-01-01T00:00:00Z",
    "-0001-01-01T00:00:00Z",
    "12024-01-01T00:00:00Z",
  ),
);
export const numberText = fc.oneof(
  fc.integer().map(String),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map(String),
  fc.double({ noNaN: true, min: -1000, max: 1000 }).map(String),
  fc.float({ noNaN: true, noDefaultInfinity: true }).map(String),
  fc.integer({ min: -1e9, max: 1e9 }).map((cents) => String(cents / 100)),
  fc.stringMatching(/^-?(0|[1-9]\d{0,17})(\.\d{1,17})?([eE][+-]?\d{1,3})?$/),
  fc.stringMatching(/^-?\d{15,25}$/),
  fc.constantFrom(
    ..."-0 -0.0 00 01 1. .5 - +1 1e400 -1e400 1e-400 4.9e-324 2.4703282292062327e-324 2.4703282292062328e-324".split(
      " ",
    ),
    ..."9007199254740991 9007199254740992 9007199254740993 -9007199254740993 9223372036854775807 9223372036854775808".split(
      " ",
    ),
    ..."18446744073709551615 18446744073709551616 12345678901234567000 1180591620717411303424 2147483647 2147483648".split(
      " ",
    ),
    ..."1.0 1e3 1E+2 1.5e1 999999999999999 1000.0 1000.1 0.1 0.30000000000000004 99999999999999.99 3.4028235e38 3.4028236e38".split(
      " ",
    ),
    ..."1.1000000000000000001 0.005 0.015 1.005 123456789.125 1234567890123.45 12345678901234.5 1e-7 1e21 0.10 1.100".split(
      " ",
    ),
  ),
);
/** A string, written with escapes or without. */
export const stringText = fc.oneof(
  fc.string({ maxLength: 10 }).map(quoted),
  fc.string({ unit: "binary", maxLength: 6 }).map((text) => quoted(text.toWellFormed())),
  fc
    .string({ unit: "binary", maxLength: 4 })
    .map(
      (text) =>
        `"${[...Array(text.length).keys()].map((i) => `\\u${text.charCodeAt(i).toString(16).padStart(4, "0")}`).join("")}"`,
    ),
  fc
    .constantFrom("a", "bé", "c", "ab", "é é", "NULL", "null", "\u2028", "\ufffe\uffff", "\u007f", "{}", "''", "NaN")
    .map(quoted),
  fc.constantFrom('"\\ud800"', '"\\udc00x"', '"a\\u0000b"', '"\\/\\b\\f"', '"\\uD83D\\uDE00"', '"\\u0061b"'),
);
export const freeText = fc.oneof(
  fc.jsonValue({ maxDepth: 4 }).map((value) => JSON.stringify(value)),
  fc.tuple(stringText, numberText, stringText).map(([key, number, text]) => `{${key}: [${number}, {"k":${text}}]}`),
  numberText,
  stringText,
  fc.constantFrom(
    '{"a":1,"a":2}',
    '{"\\u0061":1,"a":1}',
    '{"":{"":[]}}',
    `${"[".repeat(62)}${"]".repeat(62)}`,
    `${"[".repeat(64)}${"]".repeat(64)}`,
  ),
);

/** The text of each field, valid or not. */
export const members: Readonly<Record<string, fc.Arbitrary<string>>> = {
  id: stringText,
  at: momentText.map(quoted),
  offset_at: momentText.map(quoted),
  day: fc.oneof(
    momentText.map((text) => quoted(text.slice(0, 10))),
    fc.constant("null"),
  ),
  n: numberText,
  any_number: numberText,
  small: numberText,
  above: numberText,
  i: numberText,
  big: numberText,
  ok: fc.constantFrom("true", "false", "null", "tru", "0", '"true"'),
  kind: stringText,
  price: fc.oneof(
    numberText,
    numberText.map((text) => `"${text}"`),
  ),
  exact: fc.oneof(
    numberText,
    numberText.map((text) => `"${text}"`),
    fc.constantFrom('"0012.50"', '" 1"', '"1 "', '"1_0"', '"+1"', '"-"'),
  ),
  whole: fc.oneof(numberText, fc.stringMatching(/^"-?\d{1,39}"$/)),
  tiny: fc.oneof(numberText, fc.stringMatching(/^"?-?0\.\d{1,11}"?$/)),
  uuid: fc.oneof(fc.uuid(), fc.constantFrom("x", "urn:uuid:0")).map(quoted),
  text: fc.oneof(stringText, fc.constantFrom("null", "1", "{}")),
  tags: fc.array(fc.oneof(stringText, fc.constant("null")), { maxLength: 4 }).map((items) => `[${items.join(", ")}]`),
  moments: fc.array(momentText.map(quoted), { maxLength: 2 }).map((items) => `[${items.join(",")}]`),
  inner: fc.oneof(
    fc.constant("null"),
    fc.tuple(numberText, stringText).map(([x, y]) => `{"y":${y} ,"x":${x},"more":[${x}]}`),
  ),
  rates: fc
    .array(fc.tuple(stringText, numberText), { maxLength: 3 })
    .map((pairs) => `{${pairs.map(([k, v]) => `${k}:${v}`).join(",")}}`),
  free: freeText,
  frees: fc.array(freeText, { maxLength: 3 }).map((items) => `[${items.join(",")}]`),
  other: freeText,
  ID: stringText,
};

/** Fields that make an event valid. */
export const validMembers: Readonly<Record<string, string>> = {
  id: '"ab"',
  at: '"2025-06-30T12:00:00.123Z"',
  day: '"2025-06-30"',
  n: "12.5",
  i: "-3",
  ok: "true",
  kind: '"bé"',
  price: "99.95",
};

/** Valid events in which some fields are replaced by what may or may not be valid, in any order, a key perhaps twice or missing. */
export const eventText: fc.Arbitrary<string> = fc
  .tuple(fc.subarray(Object.keys(members), { maxLength: 4 }), fc.nat(41))
  .chain(([names, choice]) =>
    fc.record(Object.fromEntries(names.map((name) => [name, members[name] as fc.Arbitrary<string>]))).map((made) => {
      const all = Object.entries({ ...validMembers, ...(made as Record<string, string>) });
      if (choice % 11 === 0) all.push(all[choice % all.length] as [string, string]);
      if (choice % 3 === 0) all.reverse();
      if (choice % 13 === 0) all.pop();
      const [comma, colon] = choice % 2 === 0 ? [", ", ": "] : [",", ":"];
      return `{${all.map(([name, value]) => `"${name}"${colon}${value}`).join(comma)}}`;
    }),
  );
