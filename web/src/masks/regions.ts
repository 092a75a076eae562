/** Holes and islands: the twin of `opensam.masks.remove_small_regions`, in time linear in the rows of a box. */
import { clipped, type BitMask } from "./mask";
import type { Box } from "./rle";

export type RegionKind = "holes" | "islands";

/** A piece of a row, half open, and the region that it belongs to. */
interface Piece {
  from: number;
  to: number;
  y: number;
}

/**
 * Fills holes, or removes islands, of fewer than `minArea` pixels in place; regions touch by side or corner.
 *
 * If all islands are small, the largest stays. `tight` is the box of the mask: a hole that reaches past it by a pixel
 * is the surroundings, unless the picture ends there.
 *
 * @returns the pieces that changed, so that a draft can keep them as corrections
 */
export function removeSmallRegions(mask: BitMask, minArea: number, kind: RegionKind, tight: Box): Piece[] {
  const margin = kind === "holes" ? 1 : 0;
  const [left, top, right, bottom] = tight;
  const box = clipped([left - margin, top - margin, right + margin, bottom + margin], mask.width, mask.height);
  const { pieces, parents } = regionsOf(mask, kind === "islands" ? 1 : 0, box);
  const areas = new Float64Array(pieces.length);
  pieces.forEach((piece, index) => {
    const region = rootOf(parents, index);
    areas[region]! += piece.to - piece.from;
    if (kind === "holes" && continues(piece, box, mask)) areas[region]! = Infinity;
  });
  let spared = -1;
  if (kind === "islands") {
    const largest = areas.reduce((best, area, index) => (area > (areas[best] ?? 0) ? index : best), 0);
    if ((areas[largest] ?? 0) < minArea) spared = largest;
  }
  const changed = pieces.filter((_, index) => {
    const region = rootOf(parents, index);
    return areas[region]! < minArea && region !== spared;
  });
  const value = kind === "holes" ? 1 : 0;
  for (const { from, to, y } of changed) mask.data.fill(value, y * mask.width + from, y * mask.width + to);
  return changed;
}

/** Whether what lies around the box, and was not looked at, belongs to the same region. */
function continues({ from, to, y }: Piece, box: Box, mask: BitMask): boolean {
  return (
    (from === box[0] && from > 0) ||
    (to === box[2] && to < mask.width) ||
    (y === box[1] && y > 0) ||
    (y === box[3] - 1 && y < mask.height - 1)
  );
}

function regionsOf(mask: BitMask, value: number, box: Box): { pieces: Piece[]; parents: number[] } {
  const pieces: Piece[] = [];
  const parents: number[] = [];
  let above = 0;
  for (let y = box[1]; y < box[3]; y++) {
    const first = pieces.length;
    const row = mask.data.subarray(y * mask.width + box[0], y * mask.width + box[2]);
    for (let at = row.indexOf(value); at >= 0; ) {
      const end = row.indexOf(1 - value, at);
      const stop = end < 0 ? row.length : end;
      parents.push(pieces.length);
      pieces.push({ from: box[0] + at, to: box[0] + stop, y });
      at = row.indexOf(value, stop);
    }
    // Both rows run from left to right: each piece is compared with the few above that it can touch.
    let candidate = above;
    for (let index = first; index < pieces.length; index++) {
      const piece = pieces[index]!;
      while (candidate < first && pieces[candidate]!.to < piece.from) candidate++;
      for (let other = candidate; other < first && pieces[other]!.from <= piece.to; other++) {
        join(parents, other, index);
      }
    }
    above = first;
  }
  return { pieces, parents };
}

function rootOf(parents: number[], index: number): number {
  let root = index;
  while (parents[root] !== root) {
    parents[root] = parents[parents[root]!]!;
    root = parents[root]!;
  }
  return root;
}

function join(parents: number[], one: number, other: number): void {
  const [first, second] = [rootOf(parents, one), rootOf(parents, other)];
  parents[Math.max(first, second)] = Math.min(first, second);
}
