/** The strip of images: thumbnails, states, counts, a filter, and a place to add files. */
import type { Api } from "../project/api";
import { button, el, setAttribute, setText } from "./dom";
import { icon } from "./icons";
import type { Filter, ImageList } from "../project/images";
import type { ImageItem, ImageState } from "../project/types";
import { VirtualList } from "./virtual";

export const STATE_NAMES: Record<ImageState, string> = { new: "New", in_progress: "In progress", done: "Done" };
const ROW_HEIGHT = 144;

export interface GalleryHooks {
  open(image: ImageItem): void;
  add(files: File[]): void;
}

export class Gallery {
  private readonly list: VirtualList<ImageItem>;
  private readonly note = el("p", { class: "gallery-note", role: "status" });
  private readonly tabs = new Map<Filter["state"], HTMLButtonElement>();

  constructor(
    host: HTMLElement,
    private readonly api: Api,
    private readonly images: ImageList,
    private readonly hooks: GalleryHooks,
  ) {
    const scroller = el("div", { class: "gallery-list", role: "list", "aria-label": "Images" });
    host.append(this.head(), scroller, this.note);
    this.list = new VirtualList(scroller, {
      rowHeight: ROW_HEIGHT,
      keyOf: ({ id }) => id,
      make: () => this.makeRow(),
      fill: (row, image) => this.fillRow(row, image),
    });
    const update = (): void => this.update();
    images.shown.subscribe(update);
    images.loading.subscribe(update);
    images.current.subscribe((id) => {
      this.list.refresh();
      this.list.reveal(images.shown.value.findIndex((image) => image.id === id));
    });
    update();
  }

  private head(): HTMLElement {
    const search = el("input", {
      type: "search",
      class: "field",
      placeholder: "Filter",
      "aria-label": "Filter images by name",
      "data-testid": "filter-name",
      autocomplete: "off",
      spellcheck: "false",
    });
    search.addEventListener("input", () => this.setFilter({ text: search.value }));
    const tabs = el("div", { class: "segments", role: "group", "aria-label": "Filter images by state" });
    const names: [Filter["state"], string][] = [["all", "All"], ["new", "New"], ["in_progress", "Open"], ["done", "Done"]];
    for (const [state, name] of names) {
      const tab = button({
        name: state === "all" ? "All images" : `Images: ${STATE_NAMES[state]}`,
        content: [el("span", {}, name), el("span", { class: "segment-count" }, "0")],
        testid: `filter-${state}`,
        class: "segment",
        press: () => this.setFilter({ state }),
      });
      this.tabs.set(state, tab);
      tabs.append(tab);
    }
    const picker = el("input", { type: "file", accept: "image/*", multiple: true, hidden: true, "data-testid": "add-files" });
    picker.addEventListener("change", () => {
      if (picker.files?.length) this.hooks.add([...picker.files]);
      picker.value = "";
    });
    const add = button({
      name: "Add images",
      content: [icon("plus")],
      testid: "add-images",
      class: "button icon-button",
      press: () => picker.click(),
    });
    return el("div", { class: "gallery-head" }, el("div", { class: "row" }, search, add, picker), tabs);
  }

  private setFilter(change: Partial<Filter>): void {
    this.images.filter.set({ ...this.images.filter.value, ...change });
  }

  private update(): void {
    const { shown, all, loading, filter, counts } = this.images;
    this.list.set(shown.value);
    for (const [state, tab] of this.tabs) {
      setAttribute(tab, "aria-pressed", String(filter.value.state === state));
      setText(tab.lastElementChild!, short(counts[state]));
    }
    const empty = !shown.value.length && (loading.value ? "Loading…" : all.value.length ? "No image fits the filter." : "");
    setText(this.note, empty || "");
  }

  private makeRow(): HTMLElement {
    const main = el(
      "button",
      { type: "button", class: "gallery-item", "data-main": true, "data-testid": "gallery-item" },
      el("span", { class: "thumbnail" }, el("img", { alt: "", decoding: "async", draggable: "false" })),
      el(
        "span",
        { class: "gallery-caption" },
        el("span", { class: "state-dot" }),
        el("span", { class: "gallery-name" }),
        el("span", { class: "gallery-count" }),
      ),
    );
    const picture = main.querySelector("img")!;
    picture.addEventListener("load", () => picture.classList.add("ready"));
    picture.addEventListener("error", () => picture.closest(".thumbnail")?.classList.add("broken"));
    main.addEventListener("click", () => {
      const image = this.images.find(main.dataset["id"] ?? null);
      if (image) this.hooks.open(image);
    });
    return el("div", { class: "virtual-row", role: "listitem" }, main);
  }

  private fillRow(row: HTMLElement, image: ImageItem): void {
    const main = row.firstElementChild as HTMLButtonElement;
    const current = image.id === this.images.current.value;
    if (main.dataset["id"] !== image.id) {
      main.dataset["id"] = image.id;
      const picture = main.querySelector("img")!;
      picture.classList.remove("ready");
      picture.closest(".thumbnail")?.classList.remove("broken");
      picture.src = this.api.thumbnailUrl(image.id);
    }
    main.dataset["state"] = image.state;
    setAttribute(main, "aria-current", current ? "true" : null);
    // One stop for Tab; arrows move on from there.
    main.tabIndex = current || (!this.images.current.value && row.dataset["index"] === "0") ? 0 : -1;
    const masks = image.annotations === 1 ? "1 mask" : `${image.annotations} masks`;
    const label = `${image.file_name}, ${STATE_NAMES[image.state]}, ${masks}`;
    setAttribute(main, "aria-label", label);
    setAttribute(main, "title", label);
    setText(main.querySelector(".gallery-name")!, image.file_name);
    setText(main.querySelector(".gallery-count")!, image.annotations ? String(image.annotations) : "");
  }
}

function short(count: number): string {
  return count < 10_000 ? String(count) : `${Math.floor(count / 1000)}k`;
}
