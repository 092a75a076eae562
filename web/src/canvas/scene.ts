/** Brings what the editor knows to the painter: which masks, in which colours, and what lies over them. */
import { candidateShape } from "../document";
import type { Editor } from "../editor";
import * as looks from "./looks";
import { drawBox, drawPoint } from "./marks";
import type { Marks, PaintedMask } from "./painter";
import type { Box } from "../masks/rle";
import type { Prediction } from "../model/segmenter";
import type { Shape } from "../masks/shapes";
import type { MaskStyle } from "./sprite";

export class Scene {
  private preview: { shape: Shape; box: Box | null } | null = null;

  constructor(private readonly editor: Editor) {
    editor.painter.onMarks = (marks) => this.drawMarks(marks);
    const masks = [editor.annotations, editor.labels, editor.opacity, editor.masksVisible, editor.tool];
    for (const signal of [...masks, editor.proposals.all]) signal.subscribe(() => this.repaintBelow());
    for (const signal of [editor.selection, editor.hovered, editor.draft]) signal.subscribe(() => this.repaint());
    editor.brushSize.subscribe(() => editor.repaintMarks());
  }

  showPreview(prediction: Prediction, box: Box | null): void {
    const [best] = prediction.candidates;
    this.preview = best ? { shape: candidateShape(best, this.editor.size), box } : null;
    this.repaint();
    this.editor.painter.paintAbove();
  }

  endPreview(): void {
    if (!this.preview) return;
    this.preview = null;
    this.repaint();
  }

  /** The masks below, the largest first, so that none hides a smaller one. */
  repaintBelow(): void {
    const { annotations, labels, masksVisible, opacity, painter, proposals, tool } = this.editor;
    const masks: (PaintedMask & { area: number })[] = [];
    if (masksVisible.value) {
      for (const annotation of annotations.value) {
        const style = looks.accepted(looks.colorOf(annotation, labels.value), opacity.value);
        masks.push({ id: annotation.id, shape: this.editor.shapeOf(annotation), style, area: annotation.area });
      }
    }
    if (tool.value === "everything") {
      for (const { id, area, shape } of proposals.left(annotations.value)) {
        const style = looks.accepted(looks.colorOf({ id, label: null }, []), opacity.value * 0.6);
        masks.push({ id, shape, style, area });
      }
    }
    painter.setMasks(masks.sort((one, other) => other.area - one.area));
    this.repaint();
  }

  /** What lies over them: highlights, the draft, the preview. */
  repaint(): void {
    const { brushwork, draft, hovered, opacity, painter, selection } = this.editor;
    const changing = brushwork.changing;
    painter.hide(changing?.annotation?.id ?? null);
    const top: { shape: Shape; style: MaskStyle }[] = [];
    for (const id of new Set([hovered.value, selection.value])) this.highlight(id, top);
    const shape = changing?.shape ?? (draft.value && brushwork.shapeOf(draft.value));
    if (shape) top.push({ shape, style: looks.drafted(opacity.value) });
    if (this.preview) top.push({ shape: this.preview.shape, style: looks.previewed(opacity.value) });
    painter.setTop(top);
  }

  private highlight(id: string | null, top: { shape: Shape; style: MaskStyle }[]): void {
    const { annotations, brushwork, labels, masksVisible, opacity, proposals } = this.editor;
    if (!id || id === brushwork.changing?.annotation?.id) return;
    const annotation = masksVisible.value ? annotations.value.find((one) => one.id === id) : undefined;
    const shape = annotation ? this.editor.shapeOf(annotation) : proposals.find(id)?.shape;
    if (!shape) return;
    const color = looks.colorOf(annotation ?? { id, label: null }, labels.value);
    top.push({ shape, style: looks.highlighted(color, opacity.value) });
  }

  private drawMarks(marks: Marks): void {
    const { draft, handler } = this.editor;
    if (draft.value?.box) drawBox(marks, draft.value.box, true);
    for (const point of draft.value?.points ?? []) drawPoint(marks, point);
    handler.marks?.(marks);
    this.editor.crosshair.marks(marks);
  }
}
