/**
 * One alert over tables: the rows that its SQL gives, judged key by key, and what is remembered of the keys from one time to the next. Knows
 * nothing of when it is asked, of disks and of how alerts are told.
 */
import { type Alert, isGraver } from "../../define/alert-event.ts";
import type { TableAlert } from "../../define/bind-alerts.ts";
import { SEVERITIES } from "../../define/read-alert.ts";
import { type Judge, type Judgement, judgeOf, type Row } from "./judgement.ts";
import { advance, dueMs, type KeyState, QUIET } from "./key-state.ts";
import { alertOf, keyOf } from "./occasion.ts";

/** What is remembered between two times, as JSON. */
export interface Memory {
  readonly format: 1;
  /** What the histories are for: those of another condition are begun anew. */
  readonly condition: string;
  /** The platform's clock when it was written, and the time by which alerts measure, which never goes back. */
  readonly wallMs: number;
  readonly nowMs: number;
  readonly keys: Readonly<Record<string, KeyMemory>>;
}

interface KeyMemory {
  readonly state: KeyState;
  /** When the SQL last gave it. */
  readonly seenMs: number;
  readonly firing?: Alert;
  readonly history?: History;
}

interface History {
  /** Of the newest row in it, where rows have a time. */
  readonly timeMs?: number;
  /** Without that row, so that it can be judged again when its value has changed. */
  readonly before: unknown;
  readonly values: unknown;
}

type Judged = Omit<Judgement, "history"> & { readonly row: Row | undefined; readonly history: History | undefined };

export interface Evaluation {
  readonly memory: Memory;
  /** All that fires. */
  readonly firing: readonly Alert[];
  /** In how long something changes even if the rows stay as they are; undefined: never. */
  readonly againInMs: number | undefined;
}

/** A key of which nothing was seen for so long is forgotten with its history. */
const FORGET_MS = 100 * 86_400_000;
const LONGEST_ROW = 8_192;

export class TableJudge {
  readonly #alert: TableAlert;
  readonly #when: Judge | undefined;
  readonly #until: Judge | undefined;
  readonly #condition: string;

  constructor(alert: TableAlert) {
    this.#alert = alert;
    this.#when = alert.when && judgeOf(alert.when, alert.name);
    this.#until = alert.until && judgeOf(alert.until, alert.name);
    this.#condition = JSON.stringify([alert.time ?? null, typeof alert.when === "object" ? alert.when : null]);
  }

  /** What there is before anything is known: alerts that fire already, as an earlier life left them. */
  begin(wallMs: number, stored: Memory | undefined, firing: ReadonlyMap<string, Alert>): Memory {
    const fresh: Memory = { format: 1, condition: this.#condition, wallMs, nowMs: wallMs, keys: {} };
    const known = stored ?? fresh;
    const keys: Record<string, KeyMemory> = { ...known.keys };
    for (const [key, alert] of firing) {
      const { state, ...rest } = keys[key] ?? { state: QUIET, seenMs: known.nowMs };
      if (state.phase !== "firing") keys[key] = { ...rest, state: { phase: "firing" }, firing: alert };
    }
    return { ...known, keys };
  }

  /** @throws ALERT_CONDITION; what functions of the definition throw */
  evaluate(columns: readonly string[], rows: readonly Row[], memory: Memory, wallMs: number): Evaluation {
    const nowMs = memory.nowMs + Math.max(0, wallMs - memory.wallMs);
    const given = this.#byKey(columns, rows);
    const keys: Record<string, KeyMemory> = {};
    const firing: Alert[] = [];
    let nextMs = Number.POSITIVE_INFINITY;
    const fitting = memory.condition === this.#condition;
    for (const key of new Set([...given.keys(), ...Object.keys(memory.keys)])) {
      const known = Object.hasOwn(memory.keys, key) ? memory.keys[key] : undefined;
      const next = this.#judge(key, given.get(key), known, fitting, nowMs, wallMs);
      if (next === undefined) continue;
      keys[key] = next;
      if (next.firing) firing.push(next.firing);
      const { resolveAfterMs } = this.#alert;
      if (next.firing && resolveAfterMs !== undefined && !given.has(key))
        nextMs = Math.min(nextMs, next.seenMs + resolveAfterMs);
      nextMs = Math.min(nextMs, dueMs(next.state, this.#alert) ?? nextMs);
    }
    const againInMs = nextMs === Number.POSITIVE_INFINITY ? undefined : Math.max(0, nextMs - nowMs);
    return { memory: { format: 1, condition: this.#condition, wallMs, nowMs, keys }, firing, againInMs };
  }

  /** What is remembered of a key from now on; undefined: nothing. */
  #judge(
    key: string,
    rows: readonly Row[] | undefined,
    known: KeyMemory | undefined,
    fitting: boolean,
    nowMs: number,
    wallMs: number,
  ): KeyMemory | undefined {
    const alert = this.#alert;
    const before = known?.state ?? QUIET;
    const seenMs = rows === undefined ? (known?.seenMs ?? nowMs) : nowMs;
    const judged = this.#judgement(rows ?? [], fitting ? known?.history : undefined, nowMs, wallMs);
    const { row } = judged;
    const moment = { timeMs: nowMs, momentMs: wallMs, late: false };
    const gone = alert.resolveAfterMs === undefined || nowMs - seenMs >= alert.resolveAfterMs;
    const over =
      row === undefined ? gone : this.#until ? this.#until.judge(row, moment, undefined).holds : judged.holds === false;
    const { state, event } = advance(before, { holds: judged.holds, over, atMs: nowMs, late: false }, alert);
    const history = judged.history === undefined ? {} : { history: judged.history };
    if (event === "firing")
      return { state, seenMs, ...history, firing: this.#alertOf(row!, rows!.length, key, judged) };
    const firing = state.phase === "firing" ? this.#gravest(known!.firing!, rows, key, judged) : undefined;
    const rest = { state, seenMs, ...history, ...(firing && { firing }) };
    const forced = state.notBeforeMs !== undefined && nowMs < state.notBeforeMs;
    const worthKeeping =
      state.phase !== "quiet" || forced || (rest.history !== undefined && nowMs - seenMs < FORGET_MS);
    return worthKeeping ? rest : undefined;
  }

  /** What fires, as it is now where that is graver than it was. */
  #gravest(firing: Alert, rows: readonly Row[] | undefined, key: string, judged: Judged): Alert {
    if (judged.row === undefined || !judged.holds || rows === undefined) return firing;
    const now = this.#alertOf(judged.row, rows.length, key, judged);
    return isGraver(now.severity, firing.severity) ? now : firing;
  }

  /** The row that speaks for its key, judged: the newest one against those before it, or the first that the condition holds for. */
  #judgement(rows: readonly Row[], known: History | undefined, nowMs: number, wallMs: number): Judged {
    const when = this.#when;
    const [first] = rows;
    if (first === undefined) return { row: undefined, holds: false, reason: undefined, history: known };
    if (when === undefined) return { row: first, holds: true, reason: undefined, history: undefined };
    if (!when.remembers) {
      const moment = { timeMs: nowMs, momentMs: wallMs, late: false };
      const judged = rows.map((row) => ({ ...when.judge(row, moment, undefined), row, history: undefined }));
      return judged.find(({ holds }) => holds) ?? judged.find(({ holds }) => holds === false) ?? judged[0]!;
    }
    let history = known;
    let spoken: Judgement & { readonly row: Row } = { holds: undefined, reason: undefined, row: first };
    for (const row of rows) {
      const timeMs = this.#timeOf(row);
      if (timeMs !== undefined && history?.timeMs !== undefined && timeMs < history.timeMs) continue;
      const before = timeMs !== undefined && history?.timeMs === timeMs ? history.before : history?.values;
      const moment = { timeMs: timeMs ?? nowMs, momentMs: timeMs ?? wallMs, late: false };
      spoken = { ...when.judge(row, moment, before), row };
      history = { ...(timeMs !== undefined && { timeMs }), before, values: spoken.history };
    }
    return { ...spoken, history };
  }

  #alertOf(row: Row, rowCount: number, key: string, { reason }: Pick<Judgement, "reason">): Alert {
    const { name, inputs, severity, summary } = this.#alert;
    const ofRow = SEVERITIES.find((one) => one === row["severity"]);
    const said = typeof row["summary"] === "string" ? row["summary"] : undefined;
    const rules = {
      ...this.#alert,
      severity: severity ?? ofRow,
      summary: summary ?? (said === undefined ? undefined : () => said),
    };
    const short = JSON.stringify(row).length <= LONGEST_ROW ? { row } : {};
    return alertOf({ ...rules, name }, row, key, reason, { over: inputs, rows: rowCount, ...short });
  }

  /** Rows of one key as the SQL gives them, or in the order of their times. */
  #byKey(columns: readonly string[], rows: readonly Row[]): Map<string, Row[]> {
    const fields = this.#alert.key ?? (columns.includes("key") ? ["key"] : []);
    const found = new Map<string, Row[]>();
    for (const row of rows) {
      const key = keyOf(row, fields);
      const of = found.get(key);
      if (of === undefined) found.set(key, [row]);
      else of.push(row);
    }
    if (this.#alert.time !== undefined)
      for (const of of found.values()) of.sort((a, b) => (this.#timeOf(a) ?? 0) - (this.#timeOf(b) ?? 0));
    return found;
  }

  #timeOf(row: Row): number | undefined {
    const { time } = this.#alert;
    const value = time === undefined ? undefined : row[time];
    const ms = typeof value === "number" ? value : typeof value === "string" ? Date.parse(value) : Number.NaN;
    return Number.isNaN(ms) ? undefined : ms;
  }
}
