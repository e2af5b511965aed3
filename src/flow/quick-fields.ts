/**
 * Reads some fields of an event without parsing all of it: those that are text, at the top, and stand there the plain way, `"name":"value"`. Undefined wherever
 * that is not certain, so that whoever asks parses the event instead.
 *
 * Within valid JSON, an unescaped `"name":"` is a member and never text: a quote in a text is escaped. It is at the top when no brace was opened before it but
 * the first, and the only one of the name when there is no second.
 */
export function quickFields(names: readonly string[]): (line: string) => Readonly<Record<string, string>> | undefined {
  const marks = names.map((name) => `${JSON.stringify(name)}:"`);
  return (line) => {
    const fields: Record<string, string> = {};
    for (let i = 0; i < marks.length; i++) {
      const mark = marks[i] as string;
      const at = line.indexOf(mark);
      if (at < 0 || line.charCodeAt(at - 1) === BACKSLASH || line.lastIndexOf("{", at) !== 0) return undefined;
      const start = at + mark.length;
      const end = line.indexOf('"', start);
      if (end < 0 || line.indexOf(mark.slice(0, -1), end) >= 0) return undefined;
      const value = line.slice(start, end);
      if (value.includes("\\")) return undefined;
      fields[names[i] as string] = value;
    }
    return fields;
  };
}

const BACKSLASH = 0x5c;
