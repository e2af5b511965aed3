import { stat } from "node:fs";

const EVERY_MS = 1_000;
let awake = false;

/**
 * Keeps file operations from sleeping for ever. Before 2.41, glibc may lose the wake-up of a condition variable (its bug 25847), and with it the threads
 * that libuv keeps for files all sleep while an operation waits for them; it ends when the next one wakes them. Where each waits for the one before, as in a process that shuts
 * down, there is no next one. So there is one every second, as long as the process has anything to do. See docs/decisions/020-lost-wake-ups.md.
 */
export function keepPoolAwake(): void {
  if (awake) return;
  awake = true;
  setInterval(() => stat("/", () => undefined), EVERY_MS).unref();
}
