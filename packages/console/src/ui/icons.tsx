/** Pictures of 20 by 20, drawn with one pen. */
import type { ReactNode } from "react";

function icon(shape: ReactNode) {
  return () => (
    <svg
      width="20"
      height="20"
      viewBox="0 0 20 20"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.6"
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
    >
      {shape}
    </svg>
  );
}

export const icons = {
  brand: icon(
    <>
      <path d="M2 7c3-3 5-3 8 0s5 3 8 0" />
      <path d="M2 13c3-3 5-3 8 0s5 3 8 0" />
    </>,
  ),
  map: icon(
    <>
      <circle cx="4" cy="10" r="2" />
      <circle cx="16" cy="4.5" r="2" />
      <circle cx="16" cy="15.5" r="2" />
      <path d="M6 10c4 0 4-5.5 8-5.5M6 10c4 0 4 5.5 8 5.5" />
    </>,
  ),
  stream: icon(
    <path d="M2 6c3-2.5 5-2.5 8 0s5 2.5 8 0M2 14c3-2.5 5-2.5 8 0s5 2.5 8 0M2 10c3-2.5 5-2.5 8 0s5 2.5 8 0" />,
  ),
  table: icon(
    <>
      <rect x="2.5" y="3.5" width="15" height="13" rx="1.5" />
      <path d="M2.5 8h15M8 8v8.5" />
    </>,
  ),
  sql: icon(
    <>
      <path d="m3.5 6 4 4-4 4" />
      <path d="M10 15h6.5" />
    </>,
  ),
  runs: icon(<path d="M3 4.5h7M7 10h9M5 15.5h6" strokeWidth="3" />),
  letters: icon(
    <>
      <rect x="2.5" y="4.5" width="15" height="11" rx="1.5" />
      <path d="m3 5.5 7 5.5 7-5.5" />
    </>,
  ),
  ledger: icon(
    <>
      <path d="M10 3v14M5 17h10M3 7l7-2 7 2" />
      <path d="m3 7-1.5 5h4zM17 7l-1.5 5h3.5z" />
    </>,
  ),
  alerts: icon(
    <>
      <path d="M5 13.5V9a5 5 0 0 1 10 0v4.5l1.5 1.5h-13z" />
      <path d="M8.5 17.5h3" />
    </>,
  ),
  system: icon(
    <>
      <rect x="3" y="3" width="14" height="5.5" rx="1" />
      <rect x="3" y="11.5" width="14" height="5.5" rx="1" />
      <path d="M6 5.75h.01M6 14.25h.01" strokeWidth="2.4" />
    </>,
  ),
  search: icon(
    <>
      <circle cx="9" cy="9" r="5.5" />
      <path d="m13.5 13.5 4 4" />
    </>,
  ),
  theme: icon(
    <>
      <circle cx="10" cy="10" r="6.5" />
      <path d="M10 3.5v13a6.5 6.5 0 0 0 0-13Z" fill="currentColor" />
    </>,
  ),
  out: icon(<path d="M8 3.5H4.5v13H8M12 6l4 4-4 4M16 10H8" />),
  function: icon(<path d="M13 3.5c-3 0-3.5 1.5-4 4.5l-1 5c-.5 3-1 4-3.5 4M5.5 9h7M12.5 12l4 4.5M16.5 12l-4 4.5" />),
  window: icon(
    <>
      <rect x="2.5" y="5" width="9" height="10" rx="1" />
      <path d="M8.5 5h9v10h-9" strokeDasharray="2 2" />
    </>,
  ),
  feature: icon(<path d="m10 2.5 2.3 4.8 5.2.700-3.8 3.6.9 5.2-4.6-2.5-4.6 2.5.9-5.2L2.5 8l5.2-.7z" />),
  workflow: icon(
    <>
      <rect x="2.5" y="2.5" width="5.5" height="5.5" rx="1" />
      <rect x="12" y="12" width="5.5" height="5.5" rx="1" />
      <path d="M5.25 8v6.75H12" />
    </>,
  ),
  destination: icon(<path d="M3 10 17.5 3 13 17.5l-3-6z" />),
  server: icon(
    <>
      <ellipse cx="10" cy="5" rx="6.5" ry="2.5" />
      <path d="M3.5 5v10c0 1.4 2.9 2.5 6.5 2.5s6.5-1.1 6.5-2.5V5M3.5 10c0 1.4 2.9 2.5 6.5 2.5s6.5-1.1 6.5-2.5" />
    </>,
  ),
} as const;
