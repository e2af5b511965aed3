import type { Session } from "../state/migrate.ts";
import type { RunStatus } from "./run-records.ts";

/** How far a backfill is. */
export interface BackfillView {
  readonly id: string;
  readonly workflow: string;
  readonly concurrency: number;
  readonly createdAt: string;
  /** Partitions in all, and how many of them are in which state. */
  readonly partitions: number;
  readonly runs: Readonly<Record<RunStatus, number>>;
  /** True once no run is queued or under way. */
  readonly done: boolean;
  /** The first hundred partitions whose runs failed. */
  readonly failed: readonly { readonly partition: string; readonly run: string; readonly message: string }[];
}

interface BackfillRow {
  readonly id: string;
  readonly workflow: string;
  readonly partitions: number;
  readonly concurrency: number;
  readonly created_at: Date;
}

export async function backfillView(session: Session, id: string): Promise<BackfillView | undefined> {
  const [row] = await session.query<BackfillRow>("select * from millrace.backfills where id = $1", [id]);
  if (row === undefined) return undefined;
  const counts = await session.query<{ status: RunStatus; count: number }>(
    "select status, count(*)::integer as count from millrace.runs where backfill = $1 group by status",
    [id],
  );
  const failed = await session.query<{ partition: string; run: string; message: string }>(
    `select partition, id as run, error ->> 'message' as message from millrace.runs
     where backfill = $1 and status = 'failed' order by partition limit 100`,
    [id],
  );
  const runs = { queued: 0, running: 0, compensating: 0, succeeded: 0, failed: 0, cancelled: 0 };
  for (const { status, count } of counts) runs[status] = count;
  const { workflow, partitions, concurrency, created_at: createdAt } = row;
  const done = runs.queued + runs.running + runs.compensating === 0;
  return { id, workflow, concurrency, createdAt: createdAt.toISOString(), partitions, runs, done, failed };
}
