// @ts-nocheck
import { stream, z } from "millrace";

const recursive = z.object({
  id: z.string(),
  get children() {
    return z.array(recursive);
  },
});

const fields = {
  transform: z.string().transform((text) => text.length),
  refine: z.string().refine((text) => text !== ""),
  super_refine: z.string().superRefine(() => {}),
  check: z.string().check(() => {}),
  property: z.object({ a: z.string() }).check(z.property("a", z.string().min(3))),
  custom: z.custom((value) => value !== 1),
  instance: z.instanceof(URL),
  map: z.map(z.string(), z.string()),
  set: z.set(z.string()),
  date: z.date(),
  bigint: z.bigint(),
  int64: z.int64(),
  coerce: z.coerce.number(),
  preprocess: z.preprocess((value) => value, z.string()),
  pipe: z.string().pipe(z.string()),
  codec: z.codec(z.string(), z.number(), { decode: Number, encode: String }),
  stringbool: z.stringbool(),
  trim: z.string().trim(),
  lower: z.string().toLowerCase(),
  overwrite: z.number().overwrite((n) => n + 1),
  file: z.file(),
  symbol: z.symbol(),
  nan: z.nan(),
  function: z.function(),
  promise: z.promise(z.string()),
  default: z.string().default("x"),
  prefault: z.string().prefault("x"),
  catch: z.string().catch("x"),
  recursive,
  intersection: z.intersection(z.object({ a: z.string() }), z.object({ b: z.string() })),
  union: z.union([z.string(), z.int()]),
  discriminated: z.discriminatedUnion("t", [
    z.object({ t: z.literal("a"), x: z.string() }),
    z.object({ t: z.literal("b") }),
  ]),
  tuple: z.tuple([z.string(), z.int()]),
  empty: z.object({}),
  loose_record: z.looseRecord(z.string().regex(/^x/), z.int()),
  number_record: z.record(z.number(), z.int()),
  literals: z.literal(["a", 1]),
  undefined_literal: z.literal([undefined]),
  pattern_flags: z.string().regex(/a/i),
  pattern_unicode: z.string().regex(/a{,5}/),
  jwt: z.jwt(),
  string_format: z.stringFormat("cool", () => true),
  url_parts: z.url({ hostname: /example/ }),
  local_time: z.iso.datetime({ local: true }),
  minutes: z.iso.datetime({ precision: -1 }),
  null: z.null(),
  undefined: z.undefined(),
  void: z.void(),
  never: z.never(),
  deep: z.object({ list: z.array(z.record(z.string(), z.object({ at: z.date() }))) }).optional(),
  catchall: z.object({ a: z.string() }).catchall(z.date()),
  _reserved: z.string(),
  "": z.string(),
  Twin: z.string(),
  twin: z.string(),
  nested_names: z.object({ a: z.string(), A: z.string(), _fine: z.string() }),
};

export const refused = stream("refused", { schema: z.object(fields) });
export const whole = stream("whole", { schema: z.object({ a: z.string() }).refine(() => true) });
export const nothing = stream("nothing", { schema: z.object({}) });
