/** Number of keys in all objects of a parsed value: fewer than were written when one was written twice. */
export function keysIn(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  let count = 0;
  if (Array.isArray(value)) {
    for (const element of value) if (typeof element === "object") count += keysIn(element);
    return count;
  }
  for (const key in value) {
    count++;
    const member = (value as Record<string, unknown>)[key];
    if (typeof member === "object") count += keysIn(member);
  }
  return count;
}

/**
 * The first key that stands twice in one object, and a pointer to that object. `text` must be valid JSON in which a key
 * stands twice.
 */
export function duplicateKey(text: string): { key: string; pointer: string } {
  const open: { keys: Set<string>; pointer: string; last: string; array: boolean; index: number }[] = [];
  const tokens = /"(?:[^"\\]|\\.)*"|[{}[\],:]/g;
  let string = "";
  for (let match = tokens.exec(text); match !== null; match = tokens.exec(text)) {
    const token = match[0];
    const top = open.at(-1);
    if (token === "{" || token === "[") {
      const step = top === undefined ? "" : `/${top.array ? top.index : top.last}`;
      open.push({ keys: new Set(), pointer: `${top?.pointer ?? ""}${step}`, last: "", array: token === "[", index: 0 });
    } else if (token === "}" || token === "]") open.pop();
    else if (token === ",") (top as { index: number }).index++;
    else if (token === ":") {
      const object = top as (typeof open)[number];
      const key = JSON.parse(string) as string;
      if (object.keys.has(key)) return { key, pointer: object.pointer };
      object.keys.add(key);
      object.last = key.replaceAll("~", "~0").replaceAll("/", "~1");
    } else string = token;
  }
  throw new Error("no key stands twice");
}
