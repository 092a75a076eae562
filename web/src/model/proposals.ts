/** What "everything" found: masks that a click, or "take all", makes annotations. */
import type { Position } from "../masks/mask";
import { contains, decodeRle, runsArea, runsBox } from "../masks/rle";
import { RunsShape } from "../masks/shapes";
import { Signal } from "../signal";
import { uuid } from "../project/uuid";
import type { Annotation, Rle } from "../project/types";

/** A mask of an SA-1B record, as `/v1/generate` gives it. */
export interface GeneratedMask {
  segmentation: Rle;
  predicted_iou: number;
  stability_score: number;
  point_coords?: [number, number][];
}

export interface Proposal {
  /** The id of the annotation that it becomes; so a proposal that is taken back is there again. */
  id: string;
  area: number;
  shape: RunsShape;
  mask: GeneratedMask;
}

export class Proposals {
  readonly all = new Signal<readonly Proposal[] | null>(null);

  /** Shows what was found; null for nothing. */
  show(masks: readonly GeneratedMask[] | null): void {
    const proposals = masks?.map((mask) => {
      const shape = new RunsShape(decodeRle(mask.segmentation));
      return { id: uuid(), area: runsArea(shape.runs), shape, mask };
    });
    this.all.set(proposals ?? null);
  }

  find(id: string): Proposal | undefined {
    return this.all.value?.find((proposal) => proposal.id === id);
  }

  /** Those that are not annotations yet. */
  left(annotations: readonly Annotation[]): Proposal[] {
    const taken = new Set(annotations.map(({ id }) => id));
    return (this.all.value ?? []).filter(({ id }) => !taken.has(id));
  }

  /** The smallest at a place. */
  at({ x, y }: Position, annotations: readonly Annotation[]): Proposal | null {
    const found = this.left(annotations).filter(({ shape }) => contains(shape.runs, Math.floor(x), Math.floor(y)));
    return found.sort((one, other) => one.area - other.area)[0] ?? null;
  }

  /** Annotations of those named, or of all that are left. */
  take(
    ids: readonly string[] | undefined,
    annotations: readonly Annotation[],
    imageId: string,
    label: string | null,
  ): Annotation[] {
    const chosen = this.left(annotations).filter(({ id }) => !ids || ids.includes(id));
    return chosen.map(({ id, area, shape, mask }) => {
      const [left, top, right, bottom] = runsBox(shape.runs);
      const point_coords = mask.point_coords;
      return {
        id,
        image_id: imageId,
        version: 0,
        segmentation: mask.segmentation,
        bbox: [left, top, right - left, bottom - top],
        area,
        label,
        predicted_iou: mask.predicted_iou,
        stability_score: mask.stability_score,
        prompt: point_coords ? { point_coords, point_labels: point_coords.map(() => 1) } : {},
        source: "automatic",
      };
    });
  }
}
