import { type ErrorCode, MillraceError } from "../errors.ts";

/** Something that keeps a project from loading. */
export interface Problem {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint: string;
}

/** A problem with where it is: what `details` of PROJECT_INVALID lists. */
export interface ProjectProblem extends Problem {
  /** Relative to the project's folder. */
  readonly file: string;
  /** Where the definition begins, counted from 1; undefined when it is not known. */
  readonly line?: number;
  /** Name of the stream or table; empty when the problem is one of the file. */
  readonly name: string;
}

export function problem(code: ErrorCode, params: Record<string, unknown>): Problem {
  return problemOf(new MillraceError(code, params));
}

export function problemOf(error: MillraceError): Problem {
  return { code: error.code, message: error.message, hint: error.hint };
}
