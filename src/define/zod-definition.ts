import * as z from "zod";

/** Any Zod schema, of this or another copy of Zod 4. */
export type AnyZod = z.core.$ZodType;

/** The definition of a schema as Zod keeps it, read without its type parameters. */
export type Def = { readonly type: string } & Readonly<Record<string, unknown>>;

export function isZod(value: unknown): value is AnyZod {
  return typeof value === "object" && value !== null && "_zod" in value;
}

export function definitionOf(schema: AnyZod): Def {
  return schema._zod.def as unknown as Def;
}

/** The definitions of what `min`, `regex`, `refine` and the like added to a schema. */
export function checksOf(def: Def): readonly Def[] {
  const checks = (def.checks ?? []) as readonly { _zod: { def: Def } }[];
  return checks.map((check) => check._zod.def);
}

/** What `meta` and `describe` said about the schema. */
export function annotationsOf(schema: AnyZod): Record<string, unknown> {
  return (z.globalRegistry.get(schema) ?? {}) as Record<string, unknown>;
}
