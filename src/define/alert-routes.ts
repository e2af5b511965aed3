/**
 * Where alerts go that do not say it themselves: `alerts` in `defineConfig`. The platform's own alerts, of a ledger that does not balance for
 * example, have no definition that could, so this is where they are given to somebody.
 */
import { definitionKind } from "./definition.ts";
import type { DestinationDefinition } from "./destinations.ts";
import { didYouMean } from "./nearest.ts";
import { invalidOption, isRecord, unknownOptions } from "./options.ts";
import { type Problem, problem } from "./problem.ts";

/** Destinations by name or definition: `to: ["ops"]`, `to: [ops]`. */
export type To = readonly (string | DestinationDefinition)[];

export interface AlertRouteOptions {
  /** Only alerts of these severities. */
  readonly severity?: Severity | readonly Severity[];
  /** Only alerts of these kinds: `"ledger"`. */
  readonly kind?: string | readonly string[];
  /** Only alerts of these names. */
  readonly name?: string | readonly string[];
  readonly to: To;
}

export interface AlertsOptions {
  /** Where alerts go that no route takes. */
  readonly to?: To;
  /** The first route that fits takes the alert. */
  readonly routes?: readonly AlertRouteOptions[];
}

export type Severity = "info" | "warning" | "critical";

export interface AlertRoute {
  /** Undefined: any. */
  readonly severities: readonly string[] | undefined;
  readonly kinds: readonly string[] | undefined;
  readonly names: readonly string[] | undefined;
  /** Names of destinations. */
  readonly to: readonly string[];
}

const SEVERITIES = ["info", "warning", "critical"];
const SUBJECT = "alerts of millrace.config.ts";

/** The routes of `alerts`, most wanted first; what is wrong with them is added to `problems`. */
export function readAlertRoutes(options: unknown, problems: Problem[]): readonly AlertRoute[] {
  if (options === undefined) return [];
  if (!isRecord(options)) {
    problems.push(invalidOption("millrace.config.ts", "alerts", options, 'an object such as { to: ["ops"] }'));
    return [];
  }
  problems.push(...unknownOptions(SUBJECT, options, ["to", "routes"]));
  const { to, routes = [] } = options;
  if (!Array.isArray(routes)) problems.push(invalidOption(SUBJECT, "routes", routes, "a list of routes"));
  const read = (Array.isArray(routes) ? routes : []).map((route: unknown, index) =>
    readRoute(route, `routes[${index}] of ${SUBJECT}`, problems),
  );
  const rest = to === undefined ? [] : [{ ...ANY, to: readTo(to, SUBJECT, problems) }];
  return [...read, ...rest];
}

/** The names of destinations that an option `to` holds; what is wrong with it is added to `problems`. */
export function readTo(to: unknown, subject: string, problems: Problem[]): readonly string[] {
  const names = Array.isArray(to) ? to.map(nameOf) : [undefined];
  if (names.includes(undefined)) {
    problems.push(invalidOption(subject, "to", to, 'a list of destinations such as ["ops"]'));
    return [];
  }
  return [...new Set(names as string[])];
}

/** Of names that an option `to` holds, those that are no destination of the project. */
export function unknownDestinations(to: readonly string[], known: Iterable<string>, subject: string): Problem[] {
  const names = [...known];
  return to
    .filter((name) => !names.includes(name))
    .map((name) =>
      problem("DESTINATION_UNKNOWN", {
        destination: name,
        subject: ` in ${subject}`,
        nearest: didYouMean(name, names),
        allowed: names.length === 0 ? "The project has none" : `The project has ${names.join(", ")}`,
      }),
    );
}

/** Where an alert goes that does not say it itself. */
export function routeOf(
  routes: readonly AlertRoute[],
  alert: { readonly severity: string; readonly kind: string; readonly name: string },
): readonly string[] {
  const fits = (list: readonly string[] | undefined, value: string) => list === undefined || list.includes(value);
  const route = routes.find(
    ({ severities, kinds, names }) =>
      fits(severities, alert.severity) && fits(kinds, alert.kind) && fits(names, alert.name),
  );
  return route?.to ?? [];
}

const ANY = { severities: undefined, kinds: undefined, names: undefined };

function readRoute(route: unknown, subject: string, problems: Problem[]): AlertRoute {
  if (!isRecord(route)) {
    problems.push(
      invalidOption(SUBJECT, "routes", route, 'a list of routes such as { severity: "critical", to: ["ops"] }'),
    );
    return { ...ANY, to: [] };
  }
  problems.push(...unknownOptions(subject, route, ["severity", "kind", "name", "to"]));
  const list = (option: string, allowed: string, fine: (text: string) => boolean) => {
    const value = route[option];
    if (value === undefined) return undefined;
    const texts: unknown[] = Array.isArray(value) ? value : [value];
    if (texts.length > 0 && texts.every((text) => typeof text === "string" && fine(text))) return texts as string[];
    problems.push(invalidOption(subject, option, value, allowed));
    return [];
  };
  return {
    severities: list("severity", `one or several of ${SEVERITIES.join(", ")}`, (text) => SEVERITIES.includes(text)),
    kinds: list("kind", "the kind of an alert, or a list of them", (text) => text !== ""),
    names: list("name", "the name of an alert, or a list of them", (text) => text !== ""),
    to: readTo(route["to"], subject, problems),
  };
}

function nameOf(one: unknown): string | undefined {
  if (typeof one === "string") return one === "" ? undefined : one;
  return definitionKind(one) === "destination" ? (one as DestinationDefinition).name : undefined;
}
