/** Corrections by hand while they are made: to the draft, to the selected mask, or to a new one. */
import { type Draft, BLANK, candidateShape, withRuns } from "./document";
import type { Editor } from "./editor";
import { maskBox, maskToRuns, type Position } from "./masks/mask";
import { removeSmallRegions } from "./masks/regions";
import type { Box } from "./masks/rle";
import { CorrectedShape, CorrectionLayer, shapeToMask, type Corrections, type Shape } from "./masks/shapes";
import type { Annotation } from "./project/types";

const NO_CORRECTIONS: Corrections = { added: null, removed: null };

interface Work {
  /** The accepted mask that changes, or null for the draft. */
  annotation: Annotation | null;
  layer: CorrectionLayer;
  shape: Shape;
  adds: boolean;
}

export class Brushwork {
  /** The shape that changes at the moment. */
  private work: Work | null = null;
  /** The layer of the draft's corrections, kept from one stroke to the next. */
  private kept: { layer: CorrectionLayer; corrections: Corrections } | null = null;

  constructor(private readonly editor: Editor) {}

  /** What a draft looks like; null while it has no pixels. */
  shapeOf(draft: Draft): Shape | null {
    const candidate = draft.candidates[draft.chosen];
    const base = candidate ? candidateShape(candidate, this.editor.size) : null;
    return draft.added || draft.removed ? new CorrectedShape(base, this.layerOf(draft)) : base;
  }

  /** The accepted mask under the brush, and its shape at the moment. */
  get changing(): { annotation: Annotation | null; shape: Shape } | null {
    return this.work;
  }

  /** Begins a stroke; false when there is nothing that it could change. */
  begin(adds: boolean): boolean {
    this.work = this.target(adds);
    if (!this.work) return false;
    this.editor.repaint();
    return true;
  }

  step(from: Position, to: Position, radius: number): void {
    if (!this.work) return;
    this.show(this.work.layer.stroke(from, to, radius, this.work.adds));
  }

  polygon(corners: readonly Position[], adds: boolean): void {
    if (!this.begin(adds)) return;
    this.show(this.work!.layer.polygon(corners, adds));
    this.end();
  }

  /** Fills holes and removes islands of fewer pixels, in the draft or else in the selected mask. */
  cleanUp(minArea: number): void {
    // An answer on its way would be of another mask.
    if (this.editor.draft.value?.pending || !this.begin(false)) return;
    const { layer, shape } = this.work!;
    const mask = shapeToMask(shape, this.editor.size);
    const holes = removeSmallRegions(mask, minArea, "holes", maskBox(mask, shape.box));
    const islands = removeSmallRegions(mask, minArea, "islands", maskBox(mask, shape.box));
    if (!holes.length && !islands.length) return this.cancel();
    layer.pieces(holes, true);
    layer.pieces(islands, false);
    this.end();
  }

  /** The stroke is done: one step that can be undone. */
  end(): void {
    const { work } = this;
    this.work = null;
    if (!work) return;
    if (work.annotation) return this.endAnnotation(work.annotation, work.shape);
    const corrections = work.layer.atRest();
    this.kept = { layer: work.layer, corrections };
    this.editor.setDraft({ ...(this.editor.draft.value ?? BLANK), ...corrections });
  }

  cancel(): void {
    if (!this.work) return;
    [this.work, this.kept] = [null, null];
    this.editor.repaint();
  }

  /** Another picture. */
  forget(): void {
    [this.work, this.kept] = [null, null];
  }

  private target(adds: boolean): Work | null {
    const { draft, size } = this.editor;
    const annotation = draft.value ? null : this.editor.selected;
    if (annotation) {
      const layer = new CorrectionLayer(size, NO_CORRECTIONS);
      return { annotation, layer, shape: new CorrectedShape(this.editor.shapeOf(annotation), layer), adds };
    }
    if (!draft.value && !adds) return null;
    const current = draft.value ?? BLANK;
    const layer = this.layerOf(current);
    const candidate = current.candidates[current.chosen];
    const base = candidate ? candidateShape(candidate, size) : null;
    return { annotation: null, layer, shape: new CorrectedShape(base, layer), adds };
  }

  private endAnnotation(annotation: Annotation, shape: Shape): void {
    const mask = shapeToMask(shape, this.editor.size);
    const changed = withRuns(annotation, maskToRuns(mask, shape.box));
    if (!changed.area) this.editor.remove(annotation.id);
    else if (changed.segmentation.counts !== annotation.segmentation.counts) this.editor.replace(changed);
    else this.editor.repaint();
  }

  private layerOf(draft: Corrections): CorrectionLayer {
    const { kept } = this;
    if (kept && kept.corrections.added === draft.added && kept.corrections.removed === draft.removed) return kept.layer;
    const corrections = { added: draft.added, removed: draft.removed };
    const layer = new CorrectionLayer(this.editor.size, corrections);
    this.kept = { layer, corrections };
    return layer;
  }

  private show(changed: Box): void {
    this.editor.painter.updateTop(this.work!.shape, changed);
  }
}
