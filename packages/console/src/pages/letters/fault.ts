/** Where in a payload the fault is that a message tells of: `"/country" must be a string`, or `at byte 25`. */
export interface Fault {
  readonly from: number;
  readonly to: number;
}

export function faultIn(payload: string, message: string): Fault | undefined {
  const byte = /\bat byte (\d+)/.exec(message)?.[1];
  if (byte !== undefined) {
    const at = charactersBefore(payload, Number(byte));
    return { from: Math.min(at, payload.length), to: Math.min(at + 1, payload.length) };
  }
  const pointer = /"((?:\/[^"/]*)+)"/.exec(message)?.[1];
  if (pointer === undefined) return undefined;
  const path = pointer
    .slice(1)
    .split("/")
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
  return valueAt(payload, path);
}

function charactersBefore(text: string, bytes: number): number {
  const encoded = new TextEncoder().encode(text);
  return new TextDecoder().decode(encoded.subarray(0, bytes)).length;
}

/** The place of the value that a path leads to, found by reading the JSON once; undefined where there is none. */
function valueAt(text: string, path: readonly string[]): Fault | undefined {
  let at = 0;
  const space = () => {
    while (at < text.length && /\s/.test(text[at] as string)) at++;
  };
  const string = (): string => {
    const from = at++;
    while (at < text.length && text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
    at++;
    return JSON.parse(text.slice(from, at)) as string;
  };
  const value = (wanted: readonly string[] | undefined): Fault | undefined => {
    space();
    const from = at;
    let found: Fault | undefined;
    const open = text[at];
    if (open === '"') string();
    else if (open === "{" || open === "[") {
      const close = open === "{" ? "}" : "]";
      at++;
      space();
      for (let i = 0; at < text.length && text[at] !== close; i++) {
        space();
        let name = String(i);
        if (open === "{") {
          name = string();
          space();
          at++;
        }
        // Read on in any case: what comes behind it stands where this ends.
        const inner = value(wanted !== undefined && wanted[0] === name ? wanted.slice(1) : undefined);
        found ??= inner;
        space();
        if (text[at] === ",") at++;
        space();
      }
      at++;
    } else while (at < text.length && !/[\s,\]}]/.test(text[at] as string)) at++;
    return wanted?.length === 0 ? { from, to: at } : found;
  };
  try {
    return value(path);
  } catch {
    return undefined; // not JSON as far as that; the message alone has to do
  }
}
