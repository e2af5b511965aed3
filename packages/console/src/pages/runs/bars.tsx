/** Spans of time one below the other (a Gantt chart), as a list that is read without sight as well. */
import { Link } from "wouter";
import { duration, moment } from "../../format.ts";
import "./runs.css";

export interface Bar {
  readonly id: string;
  readonly label: string;
  readonly to?: string;
  readonly status: string;
  readonly fromMs: number;
  readonly toMs: number;
  readonly note: string;
}

export function Bars({ bars, label }: { bars: readonly Bar[]; label: string }) {
  const first = Math.min(...bars.map(({ fromMs }) => fromMs));
  const last = Math.max(...bars.map(({ toMs }) => toMs));
  const span = Math.max(1, last - first);
  return (
    <div className="bars">
      <div className="scale" aria-hidden="true">
        <span>{moment(first)}</span>
        <span>{duration(span)}</span>
        <span>{moment(last)}</span>
      </div>
      <ul aria-label={label}>
        {bars.map(({ id, label: name, to, status, fromMs, toMs, note }) => (
          <li key={id}>
            {to === undefined ? (
              <span className="label">{name}</span>
            ) : (
              <Link to={to} className="label">
                {name}
              </Link>
            )}
            <span className="track" title={note}>
              <span
                className={`span ${status}`}
                style={{
                  left: `${((fromMs - first) / span) * 100}%`,
                  width: `max(3px, ${((toMs - fromMs) / span) * 100}%)`,
                }}
              />
            </span>
            <span className="faint note">{note}</span>
          </li>
        ))}
      </ul>
    </div>
  );
}
