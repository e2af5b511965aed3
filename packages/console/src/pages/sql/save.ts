/** A result as a file. */
import type { SqlResult } from "../../api.ts";
import { colour } from "../../theme/theme.ts";

export function saveAs(name: string, content: Blob): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** The canvas on the colour that it lies on, so that it is read wherever it is put. */
export async function pictureOf(canvas: HTMLCanvasElement): Promise<Blob> {
  const whole = new OffscreenCanvas(canvas.width, canvas.height);
  const pen = whole.getContext("2d") as OffscreenCanvasRenderingContext2D;
  pen.fillStyle = colour("surface");
  pen.fillRect(0, 0, whole.width, whole.height);
  pen.drawImage(canvas, 0, 0);
  return whole.convertToBlob({ type: "image/png" });
}

/** Parquet with the columns' own types where JavaScript holds them whole, text elsewhere. The writer is loaded when it is needed. */
export async function parquetOf({ columns, rows }: SqlResult): Promise<Blob> {
  const { parquetWriteBuffer } = await import("hyparquet-writer");
  const columnData = columns.map(({ name, type }, i) => {
    const values = rows.map((row) => row[i]);
    if (/^(DOUBLE|FLOAT)/.test(type)) return { name, type: "DOUBLE" as const, data: values.map(numberOf) };
    if (/^(TINYINT|SMALLINT|INTEGER)/.test(type)) return { name, type: "INT32" as const, data: values as number[] };
    if (/^BIGINT/.test(type))
      return {
        name,
        type: "INT64" as const,
        data: values.map((value) => (value === null ? null : BigInt(value as string | number))),
      };
    if (/^BOOLEAN/.test(type)) return { name, type: "BOOLEAN" as const, data: values as boolean[] };
    if (/^TIMESTAMP/.test(type))
      return {
        name,
        type: "TIMESTAMP" as const,
        data: values.map((value) => (value === null ? null : new Date(String(value)))),
      };
    return {
      name,
      type: "STRING" as const,
      data: values.map((value) => (value === null ? null : typeof value === "string" ? value : JSON.stringify(value))),
    };
  });
  return new Blob([parquetWriteBuffer({ columnData })], { type: "application/vnd.apache.parquet" });
}

/** NaN and infinities come as texts. */
function numberOf(value: unknown): number | null {
  return value === null ? null : Number(value);
}
