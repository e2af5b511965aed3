/** A notebook as it is kept: questions and text, with how each is shown; never results. */
import type { View } from "./chart-kinds.ts";

export type NotebookCell =
  | { readonly id: string; readonly kind: "sql"; readonly sql: string; readonly view: View }
  | { readonly id: string; readonly kind: "text"; readonly text: string };

export interface NotebookView {
  readonly id: string;
  readonly name: string;
  readonly refreshS: number | null;
  readonly version: number;
  readonly changedBy: string;
  readonly changedAt: string;
}

/** The first cell holds the values of parameters, for all cells. */
export interface Kept {
  readonly parameters: Readonly<Record<string, string>>;
  readonly cells: readonly NotebookCell[];
}

export function newCell(kind: "sql" | "text", content = ""): NotebookCell {
  const id = freshId();
  return kind === "sql" ? { id, kind, sql: content, view: "auto" } : { id, kind, text: content };
}

export function toCells({ parameters, cells }: Kept): readonly unknown[] {
  return [{ kind: "parameters", values: parameters }, ...cells];
}

/** What is not understood, as from a newer console, is left out of what is shown. */
export function fromCells(kept: readonly unknown[]): Kept {
  let parameters: Record<string, string> = {};
  const cells: NotebookCell[] = [];
  for (const one of kept as readonly Record<string, unknown>[]) {
    if (one["kind"] === "parameters") parameters = one["values"] as Record<string, string>;
    if (one["kind"] === "sql" && typeof one["sql"] === "string") cells.push(one as unknown as NotebookCell);
    if (one["kind"] === "text" && typeof one["text"] === "string") cells.push(one as unknown as NotebookCell);
  }
  return { parameters, cells };
}

/** 128 random bits; `crypto.randomUUID` is there for pages of https and of this machine alone. */
export function freshId(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
