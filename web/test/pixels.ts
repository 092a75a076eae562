/** Masks in tests as text of 0 and 1, row by row. */
import type { BitMask } from "../src/masks/mask";

export function fromText(text: string, [height, width]: readonly number[]): BitMask {
  return { width: width!, height: height!, data: Uint8Array.from(text, Number) };
}

/** A picture of a mask: one string per row, `#` inside. */
export function drawing(mask: BitMask): string[] {
  return Array.from({ length: mask.height }, (_, y) =>
    [...mask.data.subarray(y * mask.width, (y + 1) * mask.width)].map((pixel) => (pixel ? "#" : ".")).join(""),
  );
}

export function fromDrawing(...rows: string[]): BitMask {
  const text = rows.join("").replaceAll("#", "1").replaceAll(".", "0");
  return fromText(text, [rows.length, rows[0]!.length]);
}

export function everyIndex(length: number): Int32Array {
  return Int32Array.from({ length }, (_, index) => index);
}
