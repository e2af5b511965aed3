/** The console: who is signed in, the frame, and which page the address means. */
import { Suspense, useEffect, useState } from "react";
import { Link, Route, Switch, useLocation } from "wouter";
import type { SessionView } from "../../../src/serve/session-route.ts";
import { api, onSignedOut } from "./api.ts";
import { compact } from "./format.ts";
import { useLive } from "./live.ts";
import { Palette } from "./palette.tsx";
import { PartBoundary, part } from "./parts.tsx";
import { SignIn } from "./sign-in.tsx";
import { applyTheme, type Theme, theme } from "./theme/theme.ts";
import { icons } from "./ui/icons.tsx";
import { Badge, Empty, Failure, HealthMark, Loading } from "./ui/ui.tsx";
import "./app.css";

const MapPage = part(() => import("./pages/map/map-page.tsx"));
const StreamsPage = part(() => import("./pages/streams/streams-page.tsx"));
const StreamPage = part(() => import("./pages/streams/stream-page.tsx"));
const TablesPage = part(() => import("./pages/tables/tables-page.tsx"));
const TablePage = part(() => import("./pages/tables/table-page.tsx"));
const SqlPage = part(() => import("./pages/sql/sql-page.tsx"));
const DashboardPage = part(() => import("./pages/sql/dashboard-page.tsx"));
const LedgerPage = part(() => import("./pages/ledger/ledger-page.tsx"));
const RunsPage = part(() => import("./pages/runs/runs-page.tsx"));
const RunPage = part(() => import("./pages/runs/run-page.tsx"));
const BackfillPage = part(() => import("./pages/runs/backfill-page.tsx"));
const AlertsPage = part(() => import("./pages/alerts/alerts-page.tsx"));
const LettersPage = part(() => import("./pages/letters/letters-page.tsx"));
const SystemPage = part(() => import("./pages/system/system-page.tsx"));

type Who =
  | { kind: "asking" }
  | { kind: "nobody" }
  | { kind: "somebody"; session: SessionView }
  | { kind: "failed"; error: Error };

export function App() {
  const [who, setWho] = useState<Who>({ kind: "asking" });
  const ask = () => {
    api.session().then(
      (session) => setWho(session === null ? { kind: "nobody" } : { kind: "somebody", session }),
      (error: Error) => setWho({ kind: "failed", error }),
    );
  };
  // biome-ignore lint/correctness/useExhaustiveDependencies: once
  useEffect(() => {
    onSignedOut(() => setWho({ kind: "nobody" }));
    ask();
  }, []);
  if (who.kind === "asking") return null;
  if (who.kind === "failed") {
    return (
      <div className="sign-in">
        <Failure error={who.error} retry={ask} />
      </div>
    );
  }
  if (who.kind === "nobody") return <SignIn onSignedIn={(session) => setWho({ kind: "somebody", session })} />;
  const signOut = () => void api.signOut().then(() => setWho({ kind: "nobody" }));
  return (
    <Switch>
      <Route path="/sql/:id/dashboard">
        {({ id }) => (
          <PartBoundary place={id}>
            <Suspense fallback={<Loading what="the dashboard" />}>
              <DashboardPage id={id} />
            </Suspense>
          </PartBoundary>
        )}
      </Route>
      <Route>
        <Frame session={who.session} signOut={signOut} />
      </Route>
    </Switch>
  );
}

const PLACES = [
  { to: "/", label: "Map", Icon: icons.map },
  { to: "/streams", label: "Streams", Icon: icons.stream },
  { to: "/tables", label: "Tables", Icon: icons.table },
  { to: "/sql", label: "SQL", Icon: icons.sql },
  { to: "/runs", label: "Runs", Icon: icons.runs },
  { to: "/alerts", label: "Alerts", Icon: icons.alerts },
  { to: "/dead-letters", label: "Dead letters", Icon: icons.letters },
  { to: "/ledger", label: "Ledger", Icon: icons.ledger },
  { to: "/system", label: "System", Icon: icons.system },
] as const;

function Frame({ session, signOut }: { session: SessionView; signOut: () => void }) {
  const [location] = useLocation();
  const [searching, setSearching] = useState(false);
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if ((event.metaKey || event.ctrlKey) && event.key.toLowerCase() === "k") {
        event.preventDefault();
        setSearching((before) => !before);
      }
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, []);
  useEffect(() => {
    const place = PLACES.find(({ to }) => to !== "/" && location.startsWith(to));
    const name = decodeURIComponent(location.split("/")[2] ?? "");
    document.title = [name, place?.label ?? "Map", "Millrace"].filter((part) => part !== "").join(" · ");
  }, [location]);
  const Brand = icons.brand;
  const Search = icons.search;
  const Out = icons.out;
  return (
    <div className="app">
      <a className="button skip" href="#main">
        Skip to the page
      </a>
      <Link to="/" className="brand">
        <Brand /> Millrace
      </Link>
      <div className="bar" role="banner">
        <button
          type="button"
          className="search"
          onClick={() => setSearching(true)}
          aria-keyshortcuts="Control+K Meta+K"
        >
          <Search /> <span>Search everything</span> <kbd>Ctrl K</kbd>
        </button>
        <div className="end">
          <LiveMark />
          <ThemeButton />
          <button
            type="button"
            className="button quiet"
            onClick={signOut}
            title={`Signed in with the key ${session.name}`}
          >
            <Out /> <span className="wide">Sign out</span>
          </button>
        </div>
      </div>
      <nav className="rail" aria-label="Places">
        <ul>
          {PLACES.map(({ to, label, Icon }) => (
            <li key={to}>
              <Link to={to} {...(isAt(location, to) && { "aria-current": "page" })}>
                <Icon /> {label}
                <Count place={to} />
              </Link>
            </li>
          ))}
        </ul>
      </nav>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, and must be reachable by keyboard */}
      <main className="main" id="main" tabIndex={0}>
        <PartBoundary place={location}>
          <Suspense
            fallback={
              <Page>
                <Loading what="the page" />
              </Page>
            }
          >
            <Switch>
              <Route path="/" component={MapPage} />
              <Route path="/map" component={MapPage} />
              <Route path="/streams" component={StreamsPage} />
              <Route path="/streams/:name/:part?">
                {({ name, part }) => <StreamPage name={decodeURIComponent(name)} part={part ?? "overview"} />}
              </Route>
              <Route path="/tables" component={TablesPage} />
              <Route path="/tables/:name/:part?">
                {({ name, part }) => <TablePage name={decodeURIComponent(name)} part={part ?? "overview"} />}
              </Route>
              <Route path="/sql/:id?">{({ id }) => <SqlPage {...(id !== undefined && { id })} />}</Route>
              <Route path="/runs" component={RunsPage} />
              <Route path="/runs/backfill/:id">{({ id }) => <BackfillPage id={id} />}</Route>
              <Route path="/runs/:id">{({ id }) => <RunPage id={id} />}</Route>
              <Route path="/alerts" component={AlertsPage} />
              <Route path="/dead-letters" component={LettersPage} />
              <Route path="/ledger" component={LedgerPage} />
              <Route path="/system" component={SystemPage} />
              <Route>
                <Page>
                  <Empty title="There is nothing at this address">
                    <p>It may be of a newer console, or mistyped.</p>
                    <Link to="/" className="button primary">
                      To the map
                    </Link>
                  </Empty>
                </Page>
              </Route>
            </Switch>
          </Suspense>
        </PartBoundary>
      </main>
      <Palette open={searching} close={() => setSearching(false)} />
    </div>
  );
}

export function Page({ children }: { children: React.ReactNode }) {
  return <div className="page">{children}</div>;
}

function isAt(location: string, place: string): boolean {
  return place === "/"
    ? location === "/" || location === "/map"
    : location === place || location.startsWith(`${place}/`);
}

/** Whether anything is wrong, wherever one is. */
function LiveMark() {
  const live = useLive();
  if (live.kind === "connecting") return <Badge>connecting</Badge>;
  if (live.kind === "lost") return <Badge tone="bad">no answer</Badge>;
  const { ready, problems, balanced, firing } = live.beat;
  const bad = !ready || !balanced || firing.critical > 0;
  const health = bad ? "bad" : problems.length > 0 || firing.warning > 0 ? "warning" : "ok";
  const words = !ready
    ? "not ready"
    : !balanced
      ? "ledger does not balance"
      : bad
        ? "alerts fire"
        : health === "ok"
          ? "all well"
          : "needs a look";
  return (
    <Link to="/system" className={`badge ${health}`} title={problems.join("\n")}>
      <HealthMark health={health} label={words} />
    </Link>
  );
}

function Count({ place }: { place: string }) {
  const live = useLive();
  if (live.kind !== "live") return null;
  const { balanced, firing, deadLetters } = live.beat;
  if (place === "/ledger" && !balanced) return <Badge tone="bad">!</Badge>;
  if (place === "/dead-letters" && deadLetters > 0) return <Badge>{compact(deadLetters)}</Badge>;
  const open = firing.critical + firing.warning + firing.info;
  if (place === "/alerts" && open > 0)
    return <Badge tone={firing.critical > 0 ? "bad" : "warning"}>{compact(open)}</Badge>;
  return null;
}

function ThemeButton() {
  const [now, setNow] = useState<Theme>(theme());
  const Icon = icons.theme;
  const next = { system: "light", light: "dark", dark: "system" } as const;
  const change = () => {
    applyTheme(next[now]);
    setNow(next[now]);
    window.dispatchEvent(new Event("millrace:theme"));
  };
  return (
    <button
      type="button"
      className="button quiet"
      onClick={change}
      aria-label={`Colours: ${now}. Change to ${next[now]}`}
      title={`Colours: ${now}`}
    >
      <Icon />
    </button>
  );
}
