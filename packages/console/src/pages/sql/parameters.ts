/** Parameters of a statement: `$name` where a value goes. The platform takes them by number, so names are given numbers here. */
export interface Bound {
  readonly sql: string;
  readonly params: readonly (string | number | null)[];
}

/** The names in the order in which they first stand there. */
export function parametersOf(sql: string): readonly string[] {
  return [...new Set([...placesOf(sql)].map(({ name }) => name))];
}

/** The statement by numbers, with the values in their order: what reads as a number is one, nothing is null. */
export function bind(sql: string, values: Readonly<Record<string, string>>): Bound {
  const names = parametersOf(sql);
  let bound = "";
  let from = 0;
  for (const { at, name } of placesOf(sql)) {
    bound += `${sql.slice(from, at)}$${names.indexOf(name) + 1}`;
    from = at + name.length + 1;
  }
  return { sql: bound + sql.slice(from), params: names.map((name) => parameterOf(values[name] ?? "")) };
}

function parameterOf(text: string): string | number | null {
  if (text === "") return null;
  return /^-?(0|[1-9]\d{0,14})(\.\d{1,15})?$/.test(text) ? Number(text) : text;
}

/** Parameters outside of texts, quoted names and comments. */
function* placesOf(sql: string): Generator<{ readonly at: number; readonly name: string }> {
  const pieces = /'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|\/\*[\s\S]*?\*\/|\$([A-Za-z_]\w*)/g;
  for (const match of sql.matchAll(pieces)) {
    if (match[1] !== undefined) yield { at: match.index, name: match[1] };
  }
}
