/** The streams and tables that every project has beside its own: the platform's records, which are events like any other. */
import type { Project, Table } from "../define/project.ts";
import { alertEventTable, alertStream } from "./alerts.ts";
import { actionStream, actionTable } from "./dead-letter-actions.ts";
import { deadLetterStream, deadLetterTable } from "./dead-letters.ts";
import { deliveryEventTable, deliveryStream } from "./deliveries.ts";
import { silenceEventTable, silenceStream } from "./silences.ts";

export function withPlatformTables(project: Project, horizonMs: number): Project {
  const streams = [
    deadLetterStream(horizonMs),
    actionStream(horizonMs),
    alertStream(horizonMs),
    deliveryStream(horizonMs),
    silenceStream(horizonMs),
  ];
  const tables = [deadLetterTable(), actionTable(), alertEventTable(), deliveryEventTable(), silenceEventTable()];
  const named = <T extends { name: string }>(parts: readonly T[]) => parts.map((part) => [part.name, part] as const);
  return {
    ...project,
    streams: new Map([...project.streams, ...named(streams)]),
    tables: new Map<string, Table>([...named(tables), ...project.tables]),
  };
}
