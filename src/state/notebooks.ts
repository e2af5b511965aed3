/**
 * Notebooks: questions that people keep, and show to each other. The cells are the console's own; here they are JSON of a bounded size.
 *
 * Two people who change one notebook at the same time do not write over each other: a change names the version that it was made from.
 */
import { randomUUID } from "node:crypto";
import { MillraceError } from "../errors.ts";
import type { State } from "./state.ts";

export interface Notebook {
  readonly id: string;
  readonly name: string;
  /** What the console shows, from top to bottom. */
  readonly cells: readonly unknown[];
  /** Seconds between two runs of its cells while somebody looks; null: only by hand. */
  readonly refreshS: number | null;
  /** Counts its changes, from 1. */
  readonly version: number;
  readonly changedBy: string;
  readonly changedAt: Date;
}

export interface NotebookDraft {
  readonly name: string;
  readonly cells: readonly unknown[];
  readonly refreshS: number | null;
}

/** Of the JSON of all cells. */
export const MOST_NOTEBOOK_BYTES = 1_048_576;

interface Row {
  readonly id: string;
  readonly name: string;
  readonly cells: readonly unknown[];
  readonly refresh_s: number | null;
  readonly version: number;
  readonly changed_by: string;
  readonly changed_at: Date;
}

export class Notebooks {
  readonly #state: State;

  constructor(state: State) {
    this.#state = state;
  }

  /** By name, without their cells. @throws STATE_UNAVAILABLE */
  async list(): Promise<Omit<Notebook, "cells">[]> {
    const rows = await this.#state.query<Omit<Row, "cells">>(
      "select id, name, refresh_s, version, changed_by, changed_at from millrace.notebooks order by lower(name), id",
    );
    return rows.map(withoutCells);
  }

  /** A text that is another one whenever a notebook is. @throws STATE_UNAVAILABLE */
  async stamp(): Promise<string> {
    const [row] = await this.#state.query<{ stamp: string }>(
      "select count(*) || '.' || coalesce(sum(version), 0) || '.' || coalesce(extract(epoch from max(changed_at)), 0) as stamp from millrace.notebooks",
    );
    return (row as { stamp: string }).stamp;
  }

  /** @throws NOTEBOOK_UNKNOWN, STATE_UNAVAILABLE */
  async show(id: string): Promise<Notebook> {
    const [row] = await this.#state.query<Row>("select * from millrace.notebooks where id = $1", [id]);
    if (row === undefined) throw new MillraceError("NOTEBOOK_UNKNOWN", { id });
    return { ...withoutCells(row), cells: row.cells };
  }

  /** @throws NOTEBOOK_TOO_LARGE, STATE_UNAVAILABLE */
  async create(draft: NotebookDraft, by: string): Promise<Notebook> {
    const [row] = await this.#state.query<Row>(
      `insert into millrace.notebooks (id, name, cells, refresh_s, changed_by) values ($1, $2, $3, $4, $5) returning *`,
      [randomUUID(), draft.name, text(draft), draft.refreshS, by],
    );
    return { ...withoutCells(row as Row), cells: (row as Row).cells };
  }

  /** Replaces the notebook of that version. @throws NOTEBOOK_CHANGED, NOTEBOOK_UNKNOWN, NOTEBOOK_TOO_LARGE, STATE_UNAVAILABLE */
  async replace(id: string, version: number, draft: NotebookDraft, by: string): Promise<Notebook> {
    const [row] = await this.#state.query<Row>(
      `update millrace.notebooks set name = $3, cells = $4, refresh_s = $5, changed_by = $6, changed_at = now(), version = version + 1
       where id = $1 and version = $2 returning *`,
      [id, version, draft.name, text(draft), draft.refreshS, by],
    );
    if (row !== undefined) return { ...withoutCells(row), cells: row.cells };
    const now = await this.show(id);
    throw new MillraceError("NOTEBOOK_CHANGED", {
      name: now.name,
      by: now.changedBy,
      version: now.version,
      from: version,
    });
  }

  /** @throws NOTEBOOK_UNKNOWN, STATE_UNAVAILABLE */
  async remove(id: string): Promise<void> {
    const rows = await this.#state.query("delete from millrace.notebooks where id = $1 returning id", [id]);
    if (rows.length === 0) throw new MillraceError("NOTEBOOK_UNKNOWN", { id });
  }
}

function text({ name, cells }: NotebookDraft): string {
  const written = JSON.stringify(cells);
  const bytes = Buffer.byteLength(written);
  if (bytes > MOST_NOTEBOOK_BYTES)
    throw new MillraceError("NOTEBOOK_TOO_LARGE", { name, bytes, most: MOST_NOTEBOOK_BYTES });
  return written;
}

function withoutCells(row: Omit<Row, "cells">): Omit<Notebook, "cells"> {
  const { id, name, refresh_s: refreshS, version, changed_by: changedBy, changed_at: changedAt } = row;
  return { id, name, refreshS, version, changedBy, changedAt };
}
