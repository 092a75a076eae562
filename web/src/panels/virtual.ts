/** A list of any length of which only the rows in view are in the page. All rows have the same height. */

export interface Rows<T> {
  /** CSS pixels. */
  rowHeight: number;
  keyOf(item: T): string;
  /** An empty row, used again for other items. */
  make(): HTMLElement;
  fill(row: HTMLElement, item: T, index: number): void;
}

/** Rows kept above and below the view, so that quick scrolling shows no gaps. */
const SPARE = 4;

export class VirtualList<T> {
  private items: readonly T[] = [];
  private readonly sheet = document.createElement("div");
  private readonly shown = new Map<string, HTMLElement>();
  private readonly free: HTMLElement[] = [];
  private frame = 0;

  constructor(
    private readonly host: HTMLElement,
    private readonly rows: Rows<T>,
  ) {
    this.sheet.className = "virtual-sheet";
    this.sheet.setAttribute("role", "presentation");
    host.append(this.sheet);
    host.addEventListener("scroll", () => this.schedule(), { passive: true });
    new ResizeObserver(() => this.schedule()).observe(host);
    host.addEventListener("keydown", (event) => this.key(event));
  }

  set(items: readonly T[]): void {
    this.items = items;
    this.sheet.style.height = `${items.length * this.rows.rowHeight}px`;
    this.render();
  }

  /** Fills the rows in view again: what they show has changed. */
  refresh(): void {
    this.schedule();
  }

  /** Scrolls as little as needed to show a row. */
  reveal(index: number): void {
    if (index < 0) return;
    const { rowHeight } = this.rows;
    const { scrollTop, clientHeight } = this.host;
    const [top, bottom] = [index * rowHeight, (index + 1) * rowHeight];
    if (top < scrollTop) this.host.scrollTop = top;
    else if (bottom > scrollTop + clientHeight) this.host.scrollTop = bottom - clientHeight;
    this.render();
  }

  private schedule(): void {
    this.frame ||= requestAnimationFrame(() => this.render());
  }

  private render(): void {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    const { rowHeight, keyOf } = this.rows;
    const { scrollTop, clientHeight } = this.host;
    const first = Math.max(0, Math.floor(scrollTop / rowHeight) - SPARE);
    const last = Math.min(this.items.length, Math.ceil((scrollTop + clientHeight) / rowHeight) + SPARE);
    const wanted = new Map<string, number>();
    for (let index = first; index < last; index++) wanted.set(keyOf(this.items[index]!), index);
    for (const [key, row] of this.shown) {
      if (wanted.has(key)) continue;
      this.shown.delete(key);
      row.remove();
      this.free.push(row);
    }
    for (const [key, index] of wanted) this.place(key, index);
  }

  private place(key: string, index: number): void {
    let row = this.shown.get(key);
    if (!row) {
      row = this.free.pop() ?? this.rows.make();
      this.shown.set(key, row);
      this.sheet.append(row);
    }
    row.style.transform = `translateY(${index * this.rows.rowHeight}px)`;
    row.dataset["index"] = String(index);
    row.setAttribute("aria-posinset", String(index + 1));
    row.setAttribute("aria-setsize", String(this.items.length));
    this.rows.fill(row, this.items[index]!, index);
  }

  /** Up and down, Home and End move between rows. */
  private key(event: KeyboardEvent): void {
    if (event.altKey || event.ctrlKey || event.metaKey || !(event.target instanceof HTMLElement)) return;
    if (event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement) return;
    const row = event.target.closest<HTMLElement>("[data-index]");
    if (!row) return;
    const at = Number(row.dataset["index"]);
    const targets: Record<string, number> = { ArrowUp: at - 1, ArrowDown: at + 1, Home: 0, End: this.items.length - 1 };
    const target = targets[event.key];
    if (target === undefined) return;
    event.preventDefault();
    const item = this.items[target];
    if (item === undefined) return;
    this.reveal(target);
    this.shown.get(this.rows.keyOf(item))?.querySelector<HTMLElement>("[data-main]")?.focus({ preventScroll: true });
  }
}
