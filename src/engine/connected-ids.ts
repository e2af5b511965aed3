/** Ids that links join become one person: union-find with path halving and union by size (Tarjan & van Leeuwen 1984). */

/**
 * For each of `ids` the person it is, where `ids[i]` and `others[i]` are one. A person is named by the least user id among those
 * that are joined, or by the least anonymous id where there is no other: the same whatever the order of the links.
 */
export function connectedIds(ids: readonly string[], others: readonly string[]): string[] {
  const numbers = new Map<string, number>();
  const parent: number[] = [];
  const size: number[] = [];
  const names: string[] = [];
  const numberOf = (id: string): number => {
    const known = numbers.get(id);
    if (known !== undefined) return known;
    const number = parent.length;
    numbers.set(id, number);
    parent.push(number);
    size.push(1);
    names.push(id);
    return number;
  };
  const rootOf = (number: number): number => {
    let at = number;
    while (parent[at] !== at) {
      const above = parent[at] as number;
      parent[at] = parent[above] as number;
      at = parent[at] as number;
    }
    return at;
  };
  const own = ids.map((id, i) => {
    const number = numberOf(id);
    let a = rootOf(number);
    let b = rootOf(numberOf(others[i] ?? id));
    if (a === b) return number;
    if ((size[a] as number) < (size[b] as number)) [a, b] = [b, a];
    parent[b] = a;
    size[a] = (size[a] as number) + (size[b] as number);
    if (isBefore(names[b] as string, names[a] as string)) names[a] = names[b] as string;
    return number;
  });
  return own.map((number) => names[rootOf(number)] as string);
}

const ANONYMOUS = "anonymous:";

function isBefore(a: string, b: string): boolean {
  const anonymous = a.startsWith(ANONYMOUS);
  if (anonymous !== b.startsWith(ANONYMOUS)) return !anonymous;
  return a < b;
}
