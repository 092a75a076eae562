/** The canvas by keyboard: arrows move a crosshair, Enter or Space clicks there, Alt with them removes. */
import type { Position } from "../masks/mask";
import { drawCrosshair } from "./marks";
import type { Marks } from "./painter";
import type { PointerAt, ToolHandler } from "../tools/tool";
import type { Viewport } from "./viewport";

interface Host {
  readonly viewport: Viewport;
  readonly handler: ToolHandler;
  readonly isOpen: boolean;
  describe(x: number, y: number, stamp: number, opposite: boolean): PointerAt;
  repaintMarks(): void;
  say(sentence: string): void;
}

const STEPS: Record<string, [number, number]> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

export class Crosshair {
  private at: Position | null = null;

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly host: Host,
  ) {
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("focus", () => this.appear());
    canvas.addEventListener("blur", () => this.vanish());
  }

  marks(marks: Marks): void {
    if (this.at) drawCrosshair(marks, this.at);
  }

  /** Another picture: it starts in the middle again. */
  reset(): void {
    this.at = null;
    if (document.activeElement === this.canvas) this.appear();
  }

  private appear(): void {
    const { viewport, isOpen } = this.host;
    if (!isOpen) return;
    this.at ??= this.bounded(viewport.toPicture(viewport.viewWidth / 2, viewport.viewHeight / 2));
    this.host.repaintMarks();
  }

  private vanish(): void {
    this.host.handler.hover?.(null);
    this.at = null;
    this.host.repaintMarks();
  }

  private key(event: KeyboardEvent): void {
    if (!this.host.isOpen || event.ctrlKey || event.metaKey) return;
    const step = STEPS[event.key];
    if (step) this.move(step, event);
    else if (event.key === "Enter" || event.key === " ") this.click(event);
    else return;
    // Arrows and Enter have other meanings in the rest of the page.
    event.preventDefault();
    event.stopPropagation();
  }

  private move([dx, dy]: [number, number], event: KeyboardEvent): void {
    this.appear();
    const { viewport } = this.host;
    // A step that can be seen: a pixel of the picture, or of the screen where those are smaller.
    const step = Math.max(1, Math.round(viewport.ratio / viewport.scale)) * (event.shiftKey ? 10 : 1);
    this.at = this.bounded({ x: this.at!.x + dx * step, y: this.at!.y + dy * step });
    this.host.handler.hover?.(this.pointer(event));
    this.host.repaintMarks();
    this.host.say(`${this.at.x}, ${this.at.y}`);
  }

  private click(event: KeyboardEvent): void {
    this.appear();
    const at = this.pointer(event);
    this.host.handler.down?.(at);
    this.host.handler.up?.(at);
  }

  private pointer(event: KeyboardEvent): PointerAt {
    const { viewport } = this.host;
    const { x, y } = viewport.toView({ x: this.at!.x + 0.5, y: this.at!.y + 0.5 });
    return this.host.describe(x / viewport.ratio, y / viewport.ratio, event.timeStamp, event.altKey);
  }

  private bounded({ x, y }: Position): Position {
    const { width, height } = this.host.viewport;
    return {
      x: Math.min(width - 1, Math.max(0, Math.floor(x))),
      y: Math.min(height - 1, Math.max(0, Math.floor(y))),
    };
  }
}
