import type { State } from "./state.ts";

/** Tags of streams, as AWS's clients set them. Every method throws STATE_UNAVAILABLE. */
export class StreamTagRecords {
  readonly #state: Promise<State>;

  constructor(state: Promise<State>) {
    this.#state = state;
  }

  /** By key, in the order of the keys. */
  async list(stream: string): Promise<(readonly [key: string, value: string])[]> {
    const state = await this.#state;
    const rows = await state.query<{ key: string; value: string }>(
      'select key, value from millrace.stream_tags where stream = $1 order by key collate "C"',
      [stream],
    );
    return rows.map(({ key, value }) => [key, value] as const);
  }

  /** Sets what is given, and no more keys than `most` in all: false, and nothing is set, when there would be more. */
  async add(stream: string, tags: ReadonlyMap<string, string>, most: number): Promise<boolean> {
    const state = await this.#state;
    return state.transaction(async (session) => {
      await session.query("select pg_advisory_xact_lock(hashtext('millrace.stream_tags'), hashtext($1))", [stream]);
      const [row] = await session.query<{ count: number }>(
        "select count(*)::integer as count from millrace.stream_tags where stream = $1 and key <> all($2)",
        [stream, [...tags.keys()]],
      );
      if ((row?.count ?? 0) + tags.size > most) return false;
      await session.query(
        `insert into millrace.stream_tags (stream, key, value) select $1, * from unnest($2::text[], $3::text[])
         on conflict (stream, key) do update set value = excluded.value`,
        [stream, [...tags.keys()], [...tags.values()]],
      );
      return true;
    });
  }

  async remove(stream: string, keys: readonly string[]): Promise<void> {
    const state = await this.#state;
    await state.query("delete from millrace.stream_tags where stream = $1 and key = any($2)", [stream, keys]);
  }
}
