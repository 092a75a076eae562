/** Takes up an accepted mask: the smallest under the pointer; each further click at the same place the next larger. */
import type { Editor } from "../editor";
import { CLICK_SLACK, type PointerAt, type ToolHandler } from "./tool";

export class SelectTool implements ToolHandler {
  readonly cursor = "default";
  private start: PointerAt | null = null;
  private last: PointerAt | null = null;

  constructor(private readonly editor: Editor) {}

  hover(at: PointerAt | null): void {
    const [smallest] = at ? this.editor.annotationsAt(at) : [];
    this.editor.hovered.set(smallest?.id ?? null);
    this.editor.setCursor(smallest ? "pointer" : this.cursor);
  }

  down(at: PointerAt): void {
    this.start = at;
  }

  up(at: PointerAt): void {
    if (!this.start) return;
    this.start = null;
    const found = this.editor.annotationsAt(at).map(({ id }) => id);
    const { last } = this;
    const again = last && Math.hypot(at.x - last.x, at.y - last.y) < CLICK_SLACK * at.reach;
    const before = found.indexOf(this.editor.selection.value ?? "");
    this.editor.selection.set(found[again ? (before + 1) % found.length : 0] ?? null);
    this.last = at;
  }

  cancel(): void {
    this.start = null;
  }
}
