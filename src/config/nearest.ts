/**
 * The candidate that was probably meant: the one with the fewest edits (insert, delete, replace, swap of neighbours), if
 * these are few for the length of the word. Case and the marks `-`, `_`, `.` between words do not count.
 * Source: optimal string alignment distance (Damerau 1964, Levenshtein 1966).
 */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  const plain = (text: string) => text.toLowerCase().replaceAll(/[-_.\s]/g, "");
  const wanted = plain(word);
  let best: string | undefined;
  // A third of the letters may be wrong; a beginning that fits is a match however much is missing.
  let fewest = Math.max(1, Math.floor(wanted.length / 3)) + 1;
  for (const candidate of candidates) {
    const text = plain(candidate);
    const begins = wanted.length >= 3 && text.startsWith(wanted);
    const edits = begins ? 0.5 : distance(wanted, text);
    if (edits < fewest) [best, fewest] = [candidate, edits];
  }
  return best;
}

function distance(a: string, b: string): number {
  let before: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i += 1) {
    const current = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      let edits = Math.min(previous[j]! + 1, current[j - 1]! + 1, previous[j - 1]! + same);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) edits = Math.min(edits, before[j - 2]! + 1);
      current.push(edits);
    }
    [before, previous] = [previous, current];
  }
  return previous[b.length]!;
}
