/** Search over everything there is, by keyboard: places, streams, tables, functions, alerts, and event ids. */
import { type KeyboardEvent, useEffect, useId, useMemo, useState } from "react";
import { useLocation } from "wouter";
import { api } from "./api.ts";
import { useLoad } from "./load.ts";
import { nodePath } from "./places.ts";
import { Dialog } from "./ui/ui.tsx";

interface Entry {
  readonly label: string;
  readonly detail: string;
  readonly to: string;
}

const PLACES: readonly Entry[] = [
  { label: "Map", detail: "place", to: "/" },
  { label: "Streams", detail: "place", to: "/streams" },
  { label: "Tables", detail: "place", to: "/tables" },
  { label: "SQL", detail: "place", to: "/sql" },
  { label: "Runs", detail: "place", to: "/runs" },
  { label: "Alerts", detail: "place", to: "/alerts" },
  { label: "Dead letters", detail: "place", to: "/dead-letters" },
  { label: "Ledger", detail: "place", to: "/ledger" },
  { label: "System", detail: "place", to: "/system" },
];
const MOST = 50;

export function Palette({ open, close }: { open: boolean; close: () => void }) {
  return (
    <Dialog open={open} onClose={close} label="Search everything">
      <Search close={close} />
    </Dialog>
  );
}

function Search({ close }: { close: () => void }) {
  const [, go] = useLocation();
  const [text, setText] = useState("");
  const [chosen, setChosen] = useState(0);
  const list = useId();
  const { value: map } = useLoad("map", (signal) => api.map(signal));
  const found = useMemo(() => {
    const nodes = (map?.nodes ?? []).map(({ id, kind, name }) => ({ label: name, detail: kind, to: nodePath(id) }));
    const words = text.trim().toLowerCase();
    const fits = [...PLACES, ...nodes].filter(({ label }) => label.toLowerCase().includes(words));
    const event =
      words === ""
        ? []
        : [
            {
              label: text.trim(),
              detail: "find as an event's id",
              to: `/ledger?event=${encodeURIComponent(text.trim())}`,
            },
          ];
    // What begins with the words comes first.
    const begins = ({ label }: Entry) => (label.toLowerCase().startsWith(words) ? 0 : 1);
    return [...fits.sort((a, b) => begins(a) - begins(b)).slice(0, MOST), ...event];
  }, [map, text]);
  const at = Math.min(chosen, found.length - 1);
  const open = (entry: Entry | undefined) => {
    if (entry === undefined) return;
    close();
    go(entry.to);
  };
  useEffect(() => {
    document.getElementById(`${list}-${at}`)?.scrollIntoView({ block: "nearest" });
  }, [at, list]);
  const onKey = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step !== undefined) {
      event.preventDefault();
      setChosen((at + step + found.length) % Math.max(1, found.length));
    }
    if (event.key === "Enter") open(found[at]);
  };
  return (
    <div className="palette">
      <input
        role="combobox"
        aria-label="Search everything"
        aria-expanded="true"
        aria-controls={list}
        aria-activedescendant={found.length > 0 ? `${list}-${at}` : undefined}
        autoFocus
        placeholder="A stream, a table, an alert, an event's id …"
        value={text}
        onChange={(event) => {
          setText(event.target.value);
          setChosen(0);
        }}
        onKeyDown={onKey}
      />
      <ul id={list} role="listbox" aria-label="Found">
        {found.map((entry, i) => (
          // biome-ignore lint/a11y/useKeyWithClickEvents: the input has the keyboard
          // biome-ignore lint/a11y/useFocusableInteractive: the input keeps the focus
          <li
            key={`${entry.detail} ${entry.label}`}
            id={`${list}-${i}`}
            role="option"
            aria-selected={i === at}
            onClick={() => open(entry)}
            onMouseMove={() => setChosen(i)}
          >
            {entry.label} <span className="faint">{entry.detail}</span>
          </li>
        ))}
      </ul>
    </div>
  );
}
