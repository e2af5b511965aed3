/** Which partitions a workflow shall be run for: a range of hours, days or months, or a list of names. */
import { type FormEvent, useState } from "react";
import { api } from "../../api.ts";

const KINDS = [
  { by: "day", label: "days", type: "date", hint: "" },
  { by: "hour", label: "hours (UTC)", type: "datetime-local", hint: "" },
  { by: "month", label: "months", type: "month", hint: "2026-01" },
  { by: "list", label: "partitions by name", type: "text", hint: "" },
] as const;
type By = (typeof KINDS)[number]["by"];

export function BackfillForm({ workflow, begun }: { workflow: string; begun: (work: () => Promise<string>) => void }) {
  const [by, setBy] = useState<By>("day");
  const [range, setRange] = useState({ from: "", to: "" });
  const [names, setNames] = useState("");
  const [concurrency, setConcurrency] = useState("4");
  const kind = KINDS.find((one) => one.by === by) as (typeof KINDS)[number];
  const submit = (event: FormEvent) => {
    event.preventDefault();
    begun(async () => {
      const partitions = names
        .split(/[\n,]/)
        .map((name) => name.trim())
        .filter((name) => name !== "");
      const what =
        by === "list" ? { partitions } : { from: instantOf(by, range.from), to: instantOf(by, range.to), by };
      return `/runs/backfill/${(await api.backfill(workflow, { ...what, concurrency: Number(concurrency) })).id}`;
    });
  };
  return (
    <details>
      <summary>Backfill</summary>
      <form className="row backfill-form" onSubmit={submit}>
        <select
          className="input select"
          aria-label={`What to backfill ${workflow} by`}
          value={by}
          onChange={(event) => {
            setBy(event.target.value as By);
            setRange({ from: "", to: "" });
          }}
        >
          {KINDS.map((one) => (
            <option key={one.by} value={one.by}>
              {one.label}
            </option>
          ))}
        </select>
        {by === "list" ? (
          <textarea
            className="input"
            aria-label="Names of partitions, one per line or with commas"
            rows={3}
            required
            placeholder="DE, FR, GB"
            value={names}
            onChange={(event) => setNames(event.target.value)}
          />
        ) : (
          (["from", "to"] as const).map((end) => (
            <input
              key={end}
              className="input select"
              type={kind.type}
              placeholder={kind.hint}
              aria-label={end === "from" ? "From" : "To, inclusive"}
              required
              value={range[end]}
              onChange={(event) => setRange({ ...range, [end]: event.target.value })}
            />
          ))
        )}
        <label className="row">
          at once
          <input
            className="input select"
            style={{ width: 72 }}
            type="number"
            min={1}
            max={1000}
            required
            value={concurrency}
            onChange={(event) => setConcurrency(event.target.value)}
          />
        </label>
        <button type="submit" className="button">
          Backfill
        </button>
      </form>
    </details>
  );
}

/** As the platform reads it: `2026-01-31T13` is an hour in UTC. */
function instantOf(by: By, value: string): string {
  return by === "hour" ? value.slice(0, 13) : value;
}
