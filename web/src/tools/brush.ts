/** A round brush, or eraser, for the draft, else for the selected mask, else for a new mask by hand. */
import type { Editor } from "../editor";
import type { Position } from "../masks/mask";
import type { Marks } from "../canvas/painter";
import { drawCircle } from "../canvas/marks";
import type { PointerAt, ToolHandler } from "./tool";

export class BrushTool implements ToolHandler {
  readonly cursor = "none";
  private at: Position | null = null;
  private last: Position | null = null;

  constructor(
    private readonly editor: Editor,
    private readonly adds: boolean,
  ) {}

  hover(at: PointerAt | null): void {
    this.at = at;
    this.editor.repaintMarks();
  }

  down(at: PointerAt): void {
    [this.at, this.last] = [at, at];
    if (this.editor.brushwork.begin(this.adds !== at.opposite)) this.step(at);
  }

  drag(at: PointerAt): void {
    this.step(at);
  }

  up(): void {
    this.last = null;
    this.editor.brushwork.end();
  }

  cancel(): void {
    this.last = null;
    this.editor.brushwork.cancel();
  }

  marks(marks: Marks): void {
    if (this.at) drawCircle(marks, this.at, this.editor.brushSize.value / 2);
  }

  private step(at: PointerAt): void {
    if (!this.last) return;
    const from = this.last;
    [this.at, this.last] = [at, at];
    this.editor.brushwork.step(from, at, (this.editor.brushSize.value / 2) * at.reach);
  }
}
