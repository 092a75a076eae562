/** Colours of masks and marks on the canvas. The page around it has its own in theme.css. */
import type { MaskStyle, Rgb } from "./sprite";
import type { Annotation, Label } from "../project/types";

export const ACCENT: Rgb = [59, 130, 246];
export const WHITE: Rgb = [255, 255, 255];
export const GREEN = "#15803d";
export const RED = "#dc2626";

/** For masks without a label: told apart from each other, none of them the accent. */
const PALETTE: readonly Rgb[] = [
  [230, 97, 1],
  [0, 158, 115],
  [204, 84, 160],
  [214, 178, 0],
  [118, 94, 204],
  [0, 150, 178],
  [200, 60, 60],
  [110, 150, 40],
];

export function colorOf(annotation: Pick<Annotation, "id" | "label">, labels: readonly Label[]): Rgb {
  const label = labels.find(({ name }) => name === annotation.label);
  const named = label && rgb(label.color);
  if (named) return named;
  let hash = 0;
  for (const letter of annotation.id) hash = (hash * 31 + letter.charCodeAt(0)) >>> 0;
  return PALETTE[hash % PALETTE.length]!;
}

export function accepted(color: Rgb, opacity: number): MaskStyle {
  return { color, edge: color, opacity, halo: false };
}

export function highlighted(color: Rgb, opacity: number): MaskStyle {
  return { color, edge: WHITE, opacity: Math.min(0.85, opacity * 0.7), halo: true };
}

export function drafted(opacity: number): MaskStyle {
  return { color: ACCENT, edge: WHITE, opacity, halo: true };
}

export function previewed(opacity: number): MaskStyle {
  return { color: ACCENT, edge: ACCENT, opacity: opacity * 0.6, halo: false };
}

/** #rrggbb as three numbers; null for anything else. */
export function rgb(color: string): Rgb | null {
  const digits = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})$/i.exec(color);
  return digits && [1, 2, 3].map((part) => parseInt(digits[part]!, 16)) as unknown as Rgb;
}
