/** The labels as a list: a click takes one, the pencil changes it. */
import { messageOf } from "../project/api";
import { confirmDialog, openDialog } from "./dialogs";
import { button, el, setAttribute } from "./dom";
import type { Editor } from "../editor";
import { icon } from "./icons";
import { addLabel, inkOn, nameError, recolorLabel, rekeyLabel, removeLabel, renameLabel, type LabelList } from "../project/labels";
import { toast } from "./toast";
import type { Label } from "../project/types";

export interface LabelHooks {
  apply(name: string): void;
  /** Annotations have another label now, or more of them have. */
  renamed(): void;
}

export class LabelPanel {
  private readonly rows = el("div", { class: "label-list", role: "group", "aria-label": "Labels" });

  constructor(
    host: HTMLElement,
    private readonly editor: Editor,
    private readonly list: LabelList,
    private readonly hooks: LabelHooks,
  ) {
    host.append(el("div", { class: "panel-head" }, el("h2", {}, "Labels")), this.rows, this.form());
    list.labels.subscribe(() => this.render());
    editor.label.subscribe(() => this.render());
    this.render();
  }

  private render(): void {
    const { labels } = this.list;
    // The row that has focus is made anew too: focus goes to the one that follows it.
    const focused = this.rows.contains(document.activeElement) ? document.activeElement?.getAttribute("data-testid") : null;
    this.rows.replaceChildren(...labels.value.map((label) => this.row(label)));
    if (!labels.value.length) this.rows.append(el("p", { class: "hint panel-note" }, "Add a label, or leave masks without."));
    if (focused) this.rows.querySelector<HTMLElement>(`[data-testid="${CSS.escape(focused)}"]`)?.focus();
  }

  private row(label: Label): HTMLElement {
    const chip = el("span", { class: "swatch key-swatch" }, label.shortcut || null);
    chip.style.backgroundColor = label.color;
    chip.style.color = inkOn(label.color);
    const main = button({
      name: label.shortcut ? `Label ${label.name}, key ${label.shortcut}` : `Label ${label.name}`,
      content: [chip, el("span", { class: "label-name" }, label.name)],
      testid: `label-${label.name}`,
      class: "label-main",
      press: () => this.hooks.apply(label.name),
    });
    setAttribute(main, "aria-pressed", String(this.editor.label.value === label.name));
    const edit = button({
      name: `Change label ${label.name}`,
      content: [icon("edit")],
      testid: `edit-label-${label.name}`,
      class: "button icon-button row-action",
      press: () => void this.edit(label),
    });
    return el("div", { class: "label-row" }, main, edit);
  }

  private form(): HTMLElement {
    const name = el("input", {
      class: "field",
      placeholder: "New label",
      "aria-label": "Name of a new label",
      "data-testid": "new-label",
      autocomplete: "off",
      maxlength: 100,
    });
    const add = el(
      "button",
      { class: "button icon-button", type: "submit", "aria-label": "Add label", title: "Add label", "data-testid": "add-label" },
      icon("plus"),
    );
    const form = el("form", { class: "row label-form" }, name, add);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const wanted = name.value;
      if (!wanted.trim()) return name.focus();
      name.value = "";
      void this.attempt(this.list.change(addLabel(wanted))).then((added) => {
        if (added) this.hooks.apply(wanted.trim());
        else name.value = wanted;
      });
    });
    name.addEventListener("keydown", (event) => {
      if (event.key === "Escape") name.blur();
    });
    return form;
  }

  private async edit(label: Label): Promise<void> {
    const name = el("input", { class: "field", id: "label-name", value: label.name, maxlength: 100, "data-testid": "label-name" });
    const color = el("input", { type: "color", id: "label-color", class: "color-field", value: label.color, "data-testid": "label-color" });
    const key = el("select", { class: "field", id: "label-key", "data-testid": "label-key" }, el("option", { value: "" }, "None"));
    for (let digit = 1; digit <= 9; digit++) key.append(el("option", { value: digit }, String(digit)));
    if (label.shortcut && !/^[1-9]$/.test(label.shortcut)) key.append(el("option", { value: label.shortcut }, label.shortcut));
    key.value = label.shortcut;
    const choice = await openDialog({
      title: "Change label",
      testid: "label-dialog",
      content: [
        el("label", { class: "form-row", for: name.id }, el("span", {}, "Name"), name),
        el("label", { class: "form-row", for: color.id }, el("span", {}, "Colour"), color),
        el("label", { class: "form-row", for: key.id }, el("span", {}, "Key"), key),
      ],
      choices: [
        { value: "delete", name: "Delete label" },
        { value: "save", name: "Save", kind: "primary" },
      ],
    });
    if (choice === "delete") await this.remove(label);
    if (choice === "save") await this.save(label, { name: name.value, color: color.value, shortcut: key.value });
  }

  private async save(before: Label, after: Label): Promise<void> {
    const name = after.name.trim();
    const renamed = name !== before.name;
    const change = (labels: readonly Label[]): Label[] => {
      const error = nameError(labels, name, before.name);
      if (error) throw new Error(error);
      let changed = recolorLabel(before.name, after.color)(labels);
      if (after.shortcut !== before.shortcut) changed = rekeyLabel(before.name, after.shortcut)(changed);
      return renamed ? renameLabel(before.name, name)(changed) : changed;
    };
    const saved = await this.attempt(this.list.change(change, renamed ? { [before.name]: name } : undefined));
    if (!saved || !renamed) return;
    if (this.editor.label.value === before.name) this.editor.label.set(name);
    this.hooks.renamed();
  }

  private async remove({ name }: Label): Promise<void> {
    const sentence = "Masks that have it keep its name until they get another label.";
    if (!(await confirmDialog(`Delete the label “${name}”?`, sentence, "Delete"))) return;
    const removed = await this.attempt(this.list.change(removeLabel(name)));
    if (removed && this.editor.label.value === name) this.editor.label.set(null);
  }

  private async attempt(done: Promise<void>): Promise<boolean> {
    try {
      await done;
      return true;
    } catch (error) {
      toast(`The labels were not changed: ${messageOf(error)}`, "error");
      return false;
    }
  }
}
