import { AsyncLocalStorage } from "node:async_hooks";

/**
 * Where in its run a piece of code is: outside of branches, in a branch of `parallel`, at an item of `map`, inside a step. Steps are found
 * again by their name within their scope and how often it came up there, so what runs at once cannot confuse them.
 */
export class StepScope {
  /** `""`, or the path of the branch with a closing slash: `load/a/`, `files[3]/`. */
  readonly prefix: string;
  /** True while a run is being undone. */
  readonly undo: boolean;
  /** The step whose function this is. */
  readonly inside: string | undefined;
  readonly #counts = new Map<string, number>();

  constructor(prefix: string, options: { undo?: boolean; inside?: string } = {}) {
    this.prefix = prefix;
    this.undo = options.undo ?? false;
    this.inside = options.inside;
  }

  /** The key of the next step of this name here. */
  key(name: string): string {
    const count = (this.#counts.get(name) ?? 0) + 1;
    this.#counts.set(name, count);
    return `${this.prefix}${escaped(name)}${count === 1 ? "" : `#${count}`}`;
  }

  branch(key: string, name: string): StepScope {
    return new StepScope(`${key}/${escaped(name)}/`, { undo: this.undo });
  }

  item(key: string, index: number): StepScope {
    return new StepScope(`${key}[${index}]/`, { undo: this.undo });
  }

  step(key: string): StepScope {
    return new StepScope(this.prefix, { undo: this.undo, inside: key });
  }
}

export const scopes = new AsyncLocalStorage<StepScope>();

/** The scope that a key was made in. */
export function prefixOf(key: string): string {
  return key.slice(0, key.lastIndexOf("/") + 1);
}

/** Names may be anything; only what keys are put together with is written otherwise. */
function escaped(name: string): string {
  return name.replaceAll(/[%/#[\]]/g, (mark) => `%${mark.charCodeAt(0).toString(16)}`);
}
