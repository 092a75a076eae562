/** From pointers, wheel and fingers to what the tool hears, and to moves of the view. */
import type { Viewport } from "./viewport";
import { CLICK_SLACK, type PointerAt, type ToolHandler } from "../tools/tool";

/** Milliseconds after which a finger that rests removes instead of adds. */
const LONG_PRESS = 500;
const WHEEL_SPEED = 0.0016;
const LINE_HEIGHT = 16;

interface Host {
  readonly viewport: Viewport;
  readonly handler: ToolHandler;
  /** Whether a picture is open. */
  readonly isOpen: boolean;
  /** Whether one finger, or the left button, moves the picture. */
  readonly pans: boolean;
  setCursor(cursor: string | null): void;
  describe(x: number, y: number, stamp: number, opposite: boolean): PointerAt;
}

export class Gestures {
  /** Pointers that are down, in CSS pixels of the canvas. */
  private readonly down = new Map<number, { x: number; y: number }>();
  private mode: "none" | "tool" | "pan" | "pinch" = "none";
  private opposite = false;
  private space = false;
  private press = 0;
  private readonly listening = new AbortController();

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly host: Host,
  ) {
    type Events = HTMLElementEventMap;
    const on = <K extends keyof Events>(kind: K, listener: (event: Events[K]) => void): void =>
      canvas.addEventListener(kind, listener, { signal: this.listening.signal, passive: false });
    on("pointerdown", (event) => this.pointerDown(event));
    on("pointermove", (event) => this.pointerMove(event));
    on("pointerup", (event) => this.pointerUp(event));
    on("pointercancel", (event) => this.lose(event.pointerId));
    on("pointerleave", (event) => {
      if (this.mode === "none" && event.pointerType !== "touch") host.handler.hover?.(null);
    });
    on("contextmenu", (event) => event.preventDefault());
    on("mousedown", (event) => event.preventDefault()); // the middle button would scroll
    on("wheel", (event) => this.wheel(event));
    const signal = this.listening.signal;
    window.addEventListener("keydown", (event) => this.key(event, true), { signal });
    window.addEventListener("keyup", (event) => this.key(event, false), { signal });
    window.addEventListener("blur", () => (this.space = false), { signal });
  }

  /** Ends what a pointer has begun, without a result. */
  cancel(): void {
    clearTimeout(this.press);
    if (this.mode === "tool") this.host.handler.cancel?.();
    this.mode = "none";
  }

  get busy(): boolean {
    return this.mode !== "none";
  }

  close(): void {
    this.cancel();
    this.listening.abort();
  }

  private pointerDown(event: PointerEvent): void {
    if (!this.host.isOpen) return;
    event.preventDefault();
    // The canvas takes keyboard focus by Tab only, so that arrow keys keep their meaning for people with a mouse.
    if (document.activeElement instanceof HTMLElement && document.activeElement !== this.canvas) {
      document.activeElement.blur();
    }
    if (this.down.size === 2) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.down.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    if (this.down.size === 2) {
      this.cancel();
      this.mode = "pinch";
      return;
    }
    if (event.button === 1 || this.space || (this.host.pans && event.button === 0)) {
      this.mode = "pan";
      this.host.setCursor("grabbing");
      return;
    }
    this.mode = "tool";
    this.opposite = event.button === 2 || event.altKey;
    if (event.pointerType === "touch") this.press = window.setTimeout(() => this.longPress(event), LONG_PRESS);
    this.host.handler.down?.(this.at(event));
  }

  private pointerMove(event: PointerEvent): void {
    const before = this.down.get(event.pointerId);
    if (this.mode === "none" || !before) {
      if (this.mode === "none" && event.pointerType !== "touch" && this.host.isOpen && !this.space && !this.host.pans) {
        this.host.handler.hover?.(this.at(event));
      }
      return;
    }
    const now = { x: event.offsetX, y: event.offsetY };
    const { ratio } = this.host.viewport;
    if (this.mode === "tool") {
      // A finger is never quite still.
      const slack = event.pointerType === "touch" ? 2 * CLICK_SLACK : 0;
      if (Math.hypot(now.x - before.x, now.y - before.y) < slack) return;
      clearTimeout(this.press);
      // Fast strokes have more places than events.
      const moves = event.getCoalescedEvents?.() ?? [];
      for (const move of moves.length ? moves : [event]) this.host.handler.drag?.(this.at(move));
    } else if (this.mode === "pan") {
      this.host.viewport.panBy((now.x - before.x) * ratio, (now.y - before.y) * ratio);
    } else {
      this.pinch(event.pointerId, now);
    }
    this.down.set(event.pointerId, now);
  }

  private pointerUp(event: PointerEvent): void {
    if (!this.down.delete(event.pointerId)) return;
    clearTimeout(this.press);
    const { mode } = this;
    // After a pinch the finger that stays does nothing until it is lifted too.
    if (mode !== "pinch" || !this.down.size) this.mode = "none";
    if (mode === "pan") this.host.setCursor(null);
    if (mode === "tool") this.host.handler.up?.(this.at(event));
  }

  private lose(id: number): void {
    this.down.delete(id);
    this.cancel();
    this.host.setCursor(null);
  }

  private longPress(event: PointerEvent): void {
    if (this.mode !== "tool") return;
    this.opposite = true;
    this.host.handler.cancel?.();
    const at = { ...this.at(event), stamp: performance.now() };
    this.host.handler.down?.(at);
    this.host.handler.up?.(at);
    this.mode = "none";
    navigator.vibrate?.(15);
  }

  private pinch(id: number, now: { x: number; y: number }): void {
    const before = this.down.get(id)!;
    const [other] = [...this.down].filter(([key]) => key !== id).map(([, place]) => place);
    if (!other) return;
    const { viewport } = this.host;
    const { ratio } = viewport;
    const apart = (place: { x: number; y: number }): number => Math.hypot(place.x - other.x, place.y - other.y);
    viewport.panBy(((now.x - before.x) / 2) * ratio, ((now.y - before.y) / 2) * ratio);
    viewport.zoomAt(
      Math.max(1, apart(now)) / Math.max(1, apart(before)),
      ((now.x + other.x) / 2) * ratio,
      ((now.y + other.y) / 2) * ratio,
    );
  }

  private wheel(event: WheelEvent): void {
    if (!this.host.isOpen) return;
    event.preventDefault();
    const pixels = event.deltaY * (event.deltaMode ? LINE_HEIGHT : 1);
    // A pinch on a trackpad comes as wheel with Ctrl, in small steps.
    const factor = Math.exp(-Math.max(-240, Math.min(240, pixels)) * WHEEL_SPEED * (event.ctrlKey ? 6 : 1));
    const { ratio } = this.host.viewport;
    this.host.viewport.zoomAt(factor, event.offsetX * ratio, event.offsetY * ratio);
    if (this.mode === "none") this.host.handler.hover?.(this.at(event));
  }

  private key(event: KeyboardEvent, down: boolean): void {
    if (event.key !== " ") return;
    const free = event.target === document.body || event.target === document.documentElement;
    if (down && !free) return;
    this.space = down;
    this.host.setCursor(down ? "grab" : null);
    if (down) {
      event.preventDefault();
      this.host.handler.hover?.(null);
    }
  }

  private at(event: MouseEvent): PointerAt {
    const opposite = this.mode === "tool" ? this.opposite : event.altKey;
    return this.host.describe(event.offsetX, event.offsetY, event.timeStamp, opposite);
  }
}
