/** What screen readers hear of the canvas: its name, and what happened. */
export class Voice {
  private readonly live: HTMLElement;

  constructor(
    private readonly canvas: HTMLCanvasElement,
    host: HTMLElement,
  ) {
    canvas.tabIndex = 0;
    canvas.dataset["testid"] = "canvas";
    // Arrow keys and Enter reach the canvas instead of moving the reader's own cursor.
    canvas.setAttribute("role", "application");
    canvas.style.outlineOffset = "-3px"; // outside it, the ring of the focus would be cut off
    this.live = document.createElement("div");
    this.live.setAttribute("aria-live", "polite");
    this.live.style.cssText = "position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)";
    host.append(this.live);
  }

  /** Names the picture; null when none is open. */
  name(fileName: string | null): void {
    const picture = fileName === null ? "No picture" : `Picture ${fileName}`;
    this.canvas.setAttribute("aria-label", `${picture}. Arrow keys move the crosshair, Enter clicks there.`);
  }

  say(sentence: string): void {
    this.live.textContent = sentence;
  }
}

export function masks(number: number): string {
  return number === 1 ? "1 mask" : `${number} masks`;
}
