/** The images of the project: all of them, those that the filter shows, and the open one. */
import type { Api } from "./api";
import { Signal } from "../signal";
import type { ImageItem, ImageState } from "./types";

/** Images per request: the first come soon, the others in few requests. */
const FIRST_PAGE = 200;
const PAGE = 1000;

export interface Filter {
  text: string;
  state: ImageState | "all";
}

export type Counts = Record<ImageState | "all", number>;

export class ImageList {
  readonly all = new Signal<readonly ImageItem[]>([]);
  readonly shown = new Signal<readonly ImageItem[]>([]);
  readonly filter = new Signal<Filter>({ text: "", state: "all" });
  readonly current = new Signal<string | null>(null);
  readonly loading = new Signal(true);

  constructor(private readonly api: Pick<Api, "images">) {
    this.all.subscribe(() => this.select());
    this.filter.subscribe(() => this.select());
  }

  /** Fetches the list; the first part can be seen before the rest is there. */
  async load(): Promise<void> {
    this.loading.set(true);
    const before = this.all.value;
    const found = new Map<string, ImageItem>();
    try {
      for (let offset = 0, total = 1; offset < total; ) {
        const page = await this.api.images(offset, offset ? PAGE : FIRST_PAGE);
        for (const image of page.images) found.set(image.id, image);
        if (!page.images.length) break;
        offset += page.images.length;
        total = page.total;
        // A list that was there already is not shortened while it is fetched again.
        if (!before.length) this.all.set([...found.values()]);
      }
      this.all.set([...found.values()]);
    } finally {
      this.loading.set(false);
    }
  }

  find(id: string | null): ImageItem | undefined {
    return this.all.value.find((image) => image.id === id);
  }

  put(image: ImageItem): void {
    this.all.set(this.all.value.map((one) => (one.id === image.id ? image : one)));
  }

  get counts(): Counts {
    const counts: Counts = { all: this.all.value.length, new: 0, in_progress: 0, done: 0 };
    for (const { state } of this.all.value) counts[state]++;
    return counts;
  }

  /** The images that come after the open one (or, where `step` is negative, before it), nearest first. */
  neighbours(step: 1 | -1, count: number): ImageItem[] {
    const { shown, current } = this;
    const at = shown.value.findIndex(({ id }) => id === current.value);
    const start = at < 0 ? (step > 0 ? 0 : shown.value.length - 1) : at + step;
    const places = Array.from({ length: count }, (_, index) => start + step * index);
    return places.flatMap((place) => shown.value[place] ?? []);
  }

  private select(): void {
    const { text, state } = this.filter.value;
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = ({ id, file_name, state: own }: ImageItem): boolean =>
      // The open image stays: it must not vanish under the hand when it is done.
      (state === "all" || own === state || id === this.current.value) &&
      words.every((word) => file_name.toLowerCase().includes(word));
    this.shown.set(this.all.value.filter(fits));
  }
}
