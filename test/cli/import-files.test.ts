import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { brotliCompressSync, gzipSync, zstdCompressSync } from "node:zlib";
import { digest, findFiles } from "../../src/cli/import-files.ts";

const rows = `id,amount\n${Array.from({ length: 20_000 }, (_, i) => `${i},${(i * 7919) % 1009}`).join("\n")}\n`;

for (const [ending, compress] of [
  ["gz", gzipSync],
  ["zst", zstdCompressSync],
  ["br", brotliCompressSync],
] as const) {
  test(`a .${ending} file that was cut off is refused before a row is imported, and a whole one is not`, async (t) => {
    const dir = await mkdtemp(join(tmpdir(), "millrace-import-"));
    t.after(() => rm(dir, { recursive: true, force: true }));
    const whole = compress(Buffer.from(rows));
    const digestOf = async (name: string, bytes: Buffer) => {
      await writeFile(join(dir, name), bytes);
      const { files } = await findFiles([name], dir);
      return digest(files[0] ?? assert.fail(), {});
    };
    assert.match(await digestOf(`whole.csv.${ending}`, whole), /^[0-9a-f]{16}$/);
    const cut = digestOf(`cut.csv.${ending}`, whole.subarray(0, Math.floor(whole.length * 0.6)));
    await assert.rejects(cut, { code: "IMPORT_FILE_BROKEN" });
  });
}
