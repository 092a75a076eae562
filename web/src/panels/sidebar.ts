/** The right panel: labels above, the masks of the open image below. */
import { confirmDialog } from "./dialogs";
import { button, el, setAttribute, setText } from "./dom";
import type { Editor } from "../editor";
import { icon } from "./icons";
import { colorOf } from "../canvas/looks";
import type { Annotation } from "../project/types";
import { VirtualList } from "./virtual";

const ROW_HEIGHT = 40;

export class MaskPanel {
  private readonly list: VirtualList<Annotation>;
  private readonly count = el("span", { class: "count" }, "0");
  private readonly empty = el("p", { class: "hint panel-note" });
  private readonly visible: HTMLButtonElement;
  private readonly clear: HTMLButtonElement;

  constructor(
    host: HTMLElement,
    private readonly editor: Editor,
  ) {
    this.visible = button({
      name: "Hide masks",
      content: [icon("eye")],
      testid: "hide-masks",
      class: "button icon-button",
      key: "H",
      press: () => editor.masksVisible.set(!editor.masksVisible.value),
    });
    this.clear = button({
      name: "Delete all masks of this image",
      content: [icon("trash")],
      testid: "clear",
      class: "button icon-button",
      press: () => void this.removeAll(),
    });
    const scroller = el("div", { class: "mask-list", role: "list", "aria-label": "Masks of this image" });
    const head = el("div", { class: "panel-head" }, el("h2", {}, "Masks"), this.count, this.visible, this.clear);
    host.append(head, this.opacity(), this.empty, scroller);
    this.list = new VirtualList(scroller, {
      rowHeight: ROW_HEIGHT,
      keyOf: ({ id }) => id,
      make: () => this.makeRow(),
      fill: (row, annotation, index) => this.fillRow(row, annotation, index),
    });
    const refresh = (): void => this.list.refresh();
    editor.annotations.subscribe(() => this.update());
    editor.labels.subscribe(refresh);
    editor.hovered.subscribe(refresh);
    editor.masksVisible.subscribe(() => this.update());
    editor.selection.subscribe((id) => {
      this.list.refresh();
      if (id) this.list.reveal(this.shown().findIndex((annotation) => annotation.id === id));
    });
    this.update();
  }

  /** The newest on top: what was just made is in sight. */
  private shown(): Annotation[] {
    return [...this.editor.annotations.value].reverse();
  }

  private update(): void {
    const { editor } = this;
    const shown = this.shown();
    this.list.set(shown);
    setText(this.count, String(shown.length));
    setText(this.empty, shown.length || !editor.isOpen ? "" : "No masks yet. Click on an object in the picture.");
    const visible = editor.masksVisible.value;
    this.visible.replaceChildren(icon(visible ? "eye" : "eyeOff"));
    setAttribute(this.visible, "aria-label", visible ? "Hide masks" : "Show masks");
    setAttribute(this.visible, "title", visible ? "Hide masks (H)" : "Show masks (H)");
    setAttribute(this.visible, "aria-pressed", String(!visible));
    this.clear.disabled = !shown.length;
  }

  private opacity(): HTMLElement {
    const { opacity } = this.editor;
    const slider = el("input", {
      type: "range",
      min: 5,
      max: 100,
      value: Math.round(opacity.value * 100),
      id: "opacity",
      "data-testid": "opacity",
    });
    const value = el("output", { class: "slider-value", for: "opacity" });
    const show = (): void => setText(value, `${Math.round(opacity.value * 100)} %`);
    slider.addEventListener("input", () => opacity.set(Number(slider.value) / 100));
    opacity.subscribe(show);
    show();
    return el("div", { class: "slider-row" }, el("label", { for: "opacity" }, "Opacity"), slider, value);
  }

  private makeRow(): HTMLElement {
    const row = el("div", { class: "virtual-row mask-row", role: "listitem", "data-testid": "mask-item" });
    const id = (): string => row.dataset["id"] ?? "";
    const main = el(
      "button",
      { type: "button", class: "mask-main", "data-main": true, "data-testid": "mask-select" },
      el("span", { class: "swatch" }),
      el("span", { class: "mask-label" }),
      el("span", { class: "mask-area" }),
      el("span", { class: "mask-iou" }),
    );
    const { editor } = this;
    main.addEventListener("click", () => editor.selection.set(editor.selection.value === id() ? null : id()));
    row.addEventListener("pointerenter", () => editor.hovered.set(id()));
    row.addEventListener("pointerleave", () => editor.hovered.set(null));
    const remove = button({
      name: "Delete mask",
      content: [icon("trash")],
      testid: "mask-delete",
      class: "button icon-button row-action",
      press: () => editor.remove(id()),
    });
    row.append(main, remove);
    return row;
  }

  private fillRow(row: HTMLElement, annotation: Annotation, index: number): void {
    const { editor } = this;
    const number = editor.annotations.value.length - index;
    row.dataset["id"] = annotation.id;
    row.classList.toggle("hovered", editor.hovered.value === annotation.id);
    const main = row.firstElementChild as HTMLButtonElement;
    const selected = editor.selection.value === annotation.id;
    setAttribute(main, "aria-pressed", String(selected));
    main.tabIndex = selected || (!editor.selection.value && index === 0) ? 0 : -1;
    (row.lastElementChild as HTMLElement).tabIndex = main.tabIndex;
    const label = annotation.label ?? "No label";
    const iou = annotation.source === "manual" ? "by hand" : annotation.predicted_iou.toFixed(2);
    const spoken = `Mask ${number}, ${label}, ${annotation.area} pixels, predicted IoU ${iou}`;
    setAttribute(main, "aria-label", spoken);
    setAttribute(main, "title", `${annotation.area.toLocaleString("en")} px, predicted IoU ${iou}`);
    setAttribute(row.lastElementChild!, "aria-label", `Delete mask ${number}`);
    const color = colorOf(annotation, editor.labels.value);
    main.querySelector<HTMLElement>(".swatch")!.style.backgroundColor = `rgb(${color.join(" ")})`;
    const name = main.querySelector(".mask-label")!;
    setText(name, label);
    name.classList.toggle("none", annotation.label === null);
    setText(main.querySelector(".mask-area")!, compactArea(annotation.area));
    setText(main.querySelector(".mask-iou")!, annotation.source === "manual" ? "hand" : iou);
  }

  private async removeAll(): Promise<void> {
    const { editor } = this;
    const count = editor.annotations.value.length;
    const sentence = `All ${count} masks of this image are deleted. Undo brings them back.`;
    if (await confirmDialog("Delete all masks?", sentence, "Delete")) editor.removeAll();
  }
}

/** Pixels in few characters: 940, 12.3k, 1.2M. */
export function compactArea(area: number): string {
  if (area < 1000) return String(area);
  const [value, unit] = area < 999_950 ? [area / 1000, "k"] : [area / 1e6, "M"];
  return `${value < 99.95 ? value.toFixed(1) : Math.round(value)}${unit}`;
}
