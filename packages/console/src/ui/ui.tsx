/** The console's own small set of components. Looks are in ui.css, colours and spacing in theme/tokens.css. */
import { type ReactNode, useEffect, useId, useRef, useState } from "react";
import { Link } from "wouter";
import { ApiError } from "../api.ts";
import { moment, utc } from "../format.ts";
import { useAgo } from "../now.ts";
import "./ui.css";

export type Tone = "ok" | "warning" | "bad" | "accent" | "idle";

export function Badge({ tone = "idle", children }: { tone?: Tone; children: ReactNode }) {
  return <span className={`badge ${tone}`}>{children}</span>;
}

/** Tells by its shape as well as by its colour. */
export function HealthMark({ health, label }: { health: "ok" | "warning" | "bad" | "idle"; label?: string }) {
  const words = { ok: "well", warning: "needs a look", bad: "not well", idle: "quiet" };
  const colour = `var(--${health === "idle" ? "idle" : health})`;
  return (
    <span className="health">
      <svg width="12" height="12" viewBox="0 0 12 12" aria-hidden="true" fill={colour} stroke={colour}>
        {health === "ok" && <circle cx="6" cy="6" r="4.5" stroke="none" />}
        {health === "warning" && <path d="M6 1 11.5 11H.5Z" stroke="none" />}
        {health === "bad" && <path d="M3.5.5h5l3 3v5l-3 3h-5l-3-3v-5z" stroke="none" />}
        {health === "idle" && <circle cx="6" cy="6" r="4" fill="none" strokeWidth="1.5" />}
      </svg>
      {label === undefined ? <span className="visually-hidden">{words[health]}</span> : <span>{label}</span>}
    </span>
  );
}

/** A moment in the viewer's zone, with UTC behind it. */
export function Time({ at, relative = false }: { at: number | string | null | undefined; relative?: boolean }) {
  const atMs = typeof at === "string" ? Date.parse(at) : at;
  const since = useAgo(relative ? atMs : undefined);
  if (atMs === null || atMs === undefined) return <span className="faint">never</span>;
  return (
    <time dateTime={new Date(atMs).toISOString()} title={utc(atMs)}>
      {relative ? since : moment(atMs)}
    </time>
  );
}

export function Panel(props: { title?: ReactNode; actions?: ReactNode; flush?: boolean; children: ReactNode }) {
  const id = useId();
  const { title, actions, flush = false, children } = props;
  return (
    <section className="panel" {...(title !== undefined && { "aria-labelledby": id })}>
      {title !== undefined && (
        <header>
          <h2 id={id}>{title}</h2>
          {actions !== undefined && <div className="row">{actions}</div>}
        </header>
      )}
      {/* What may be wider than the screen scrolls, and what scrolls can be reached by keyboard. */}
      <div className={flush ? "flush" : "body"} {...(flush && { tabIndex: 0 })}>
        {children}
      </div>
    </section>
  );
}

export function Facts({ facts }: { facts: readonly (readonly [string, ReactNode])[] }) {
  return (
    <dl className="facts">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** What is not there yet, and the step that brings it. */
export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <div className="empty">
      <h2>{title}</h2>
      {children}
    </div>
  );
}

export function Failure({ error, retry }: { error: Error; retry?: () => void }) {
  return (
    <div className="notice bad" role="alert">
      <HealthMark health="bad" />
      <div>
        <p>{error.message}</p>
        {error instanceof ApiError && error.hint !== undefined && <p>{error.hint}</p>}
        {error instanceof ApiError && <p className="faint mono">{error.code}</p>}
      </div>
      {retry !== undefined && (
        <button type="button" className="button" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  );
}

export function Loading({ what }: { what: string }) {
  return (
    <p className="soft" role="status">
      Loading {what} …
    </p>
  );
}

export function Snippet({ text, label }: { text: string; label: string }) {
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return undefined;
    const timer = setTimeout(() => setCopied(false), 1_500);
    return () => clearTimeout(timer);
  }, [copied]);
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    setCopied(true);
  };
  return (
    <div className="snippet">
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
      <pre tabIndex={0} role="region" aria-label={label}>
        {text}
      </pre>
      <button type="button" className="button" onClick={() => void copy()} aria-label={`Copy ${label}`}>
        {copied ? "Copied" : "Copy"}
      </button>
    </div>
  );
}

export function Tabs({
  tabs,
}: {
  tabs: readonly { readonly to: string; readonly label: ReactNode; readonly current: boolean }[];
}) {
  return (
    <nav className="tabs" aria-label="Parts of this page">
      {tabs.map(({ to, label, current }) => (
        <Link key={to} to={to} replace {...(current && { "aria-current": "page" })}>
          {label}
        </Link>
      ))}
    </nav>
  );
}

export function Spark({ values, label }: { values: readonly number[]; label: string }) {
  const most = Math.max(1e-9, ...values);
  const step = 100 / Math.max(1, values.length - 1);
  const points = values.map((value, i) => `${(i * step).toFixed(2)},${(34 - (value / most) * 32).toFixed(2)}`);
  return (
    <svg className="spark" viewBox="0 0 100 36" preserveAspectRatio="none" role="img" aria-label={label}>
      {points.length > 1 && <path className="area" d={`M0,36L${points.join("L")}L100,36Z`} />}
      {points.length > 1 && <path d={`M${points.join("L")}`} />}
    </svg>
  );
}

export function Dialog(props: { open: boolean; onClose: () => void; label: string; children: ReactNode }) {
  const { open, onClose, label, children } = props;
  const ref = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const dialog = ref.current;
    if (dialog === null) return;
    if (open && !dialog.open) dialog.showModal();
    if (!open && dialog.open) dialog.close();
  }, [open]);
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: Escape closes it by itself
    <dialog
      ref={ref}
      className="dialog"
      aria-label={label}
      onClose={onClose}
      onClick={(event) => {
        if (event.target === ref.current) onClose();
      }}
    >
      {open && children}
    </dialog>
  );
}
