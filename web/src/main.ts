/** The app: makes its parts and connects them. */
import { Api, messageOf, type ProjectInfo } from "./project/api";
import { buildActions, connectDrawers, connectDrop } from "./panels/chrome";
import { conflictDialog, confirmDialog, exportDialog, importDialog, openDialog } from "./panels/dialogs";
import { byId, setText } from "./panels/dom";
import { Editor, type Tool } from "./editor";
import { Everything } from "./model/everything";
import { Gallery } from "./panels/gallery";
import { openHelp } from "./panels/help";
import { ImageList } from "./project/images";
import { connectKeys } from "./keys";
import { LabelPanel } from "./panels/label_panel";
import { LabelList } from "./project/labels";
import { CurrentModel } from "./model/model";
import { browserStorage, Outbox } from "./project/outbox";
import { SamSession } from "./model/sam";
import { MaskPanel } from "./panels/sidebar";
import { Signal } from "./signal";
import { buildDraftBar } from "./panels/stage_bars";
import { StageMessage } from "./panels/stage_message";
import { buildStatusBar, type Backend } from "./panels/status_bar";
import { Sync } from "./project/sync";
import { toast } from "./panels/toast";
import { buildToolbar } from "./panels/toolbar";
import type { ImageItem } from "./project/types";
import { uuid } from "./project/uuid";
import { Workspace } from "./workspace";

/** Files that hold annotations, not pictures, by their names. */
const ANNOTATIONS = /\.(json|txt|zip)$/i;

class App {
  private readonly images: ImageList;
  private readonly labels: LabelList;
  private readonly backend = new Signal<Backend>("loading");
  private readonly editor: Editor;
  private readonly outbox: Outbox;
  private readonly sync: Sync;
  private readonly workspace: Workspace;
  private readonly everything: Everything;

  constructor(
    private readonly api: Api,
    project: ProjectInfo,
  ) {
    this.images = new ImageList(api);
    this.labels = new LabelList(api);
    const model = new CurrentModel(this.session());
    this.editor = new Editor(byId("canvas-host"), model);
    const { editor } = this;
    this.outbox = new Outbox(project.name, uuid(), browserStorage(), navigator.locks);
    this.sync = new Sync(api, this.outbox, {
      onConflict: (conflict) => conflictDialog(conflict, this.images.find(conflict.imageId)?.file_name ?? "an image"),
      onReplaced: (imageId, id, current) => {
        if (imageId === this.images.current.value) editor.adopt(id, current);
      },
      onRefused: (reason) => toast(`A mask was not saved: ${reason}`, "error"),
    });
    this.workspace = new Workspace(api, editor, this.images, this.sync, model);
    this.everything = new Everything(byId("proposal-bar"), api, editor, this.images.current);
    this.buildPage(project);
    this.connect();
  }

  async start(): Promise<void> {
    const message = new StageMessage(this.images, this.workspace, {
      add: (files) => void this.addImages(files),
      retry: () => void this.loadImages(),
      open: (image) => void this.open(image),
    });
    this.outbox.hold();
    this.sync.resume(await this.outbox.adopt());
    // The panel appears with its labels: they would push the masks down.
    void this.labels
      .load()
      .catch((error: unknown) => toast(`The labels are missing: ${messageOf(error)}`, "error"))
      .finally(() => byId("side").classList.add("ready"));
    await this.loadImages(message);
  }

  private async loadImages(message?: StageMessage): Promise<void> {
    // The address names the open image, so that a reload comes back to it.
    const wanted = decodeURIComponent(location.hash.slice(1));
    let opened = this.images.current.value !== null;
    const openFirst = (): void => {
      const { all, loading } = this.images;
      const image = this.images.find(wanted) ?? (wanted && loading.value ? undefined : all.value[0]);
      if (opened || !image) return;
      opened = true;
      void this.open(image);
    };
    const stop = this.images.all.subscribe(openFirst);
    try {
      await this.images.load();
      message?.problem(null);
      openFirst();
    } catch (error) {
      message?.problem(messageOf(error));
    }
    stop();
  }

  /** The browser's decoder; the bar says which it is. */
  private async session(): Promise<SamSession> {
    const session = await SamSession.create(this.api);
    this.backend.set(session.backend.value);
    session.backend.subscribe((backend) => this.backend.set(backend));
    return session;
  }

  private buildPage(project: ProjectInfo): void {
    const { api, editor, images, labels } = this;
    buildActions(project.name, {
      exporting: () => void exportDialog(api, this.sync.status.value.unsaved),
      importing: () => void this.importAnnotations(),
      help: () => void openHelp(),
    });
    const toolbar = buildToolbar(byId("tools"), editor, {
      pick: (tool) => this.pick(tool),
      step: (by) => void this.step(by),
      done: () => void this.toggleDone(),
    });
    buildDraftBar(byId("draft-bar"), editor);
    const status = buildStatusBar(byId("status"), editor, this.backend, this.sync);
    new Gallery(byId("gallery"), api, images, {
      open: (image) => void this.open(image),
      add: (files) => void this.addImages(files),
    });
    new MaskPanel(byId("masks"), editor);
    new LabelPanel(byId("labels"), editor, labels, {
      apply: (name) => this.applyLabel(name),
      renamed: () => void this.refresh(),
    });
    const place = (): void => {
      const { image } = this.workspace;
      const at = images.shown.value.findIndex(({ id }) => id === images.current.value);
      toolbar.place(at, images.shown.value.length, image?.state === "done", image !== undefined);
      status.image(image);
      const title = image ? `${image.file_name} · ${project.name}` : project.name;
      document.title = `${title} · opensam`;
      setText(byId("title"), title);
    };
    for (const signal of [images.shown, images.current, images.all]) signal.subscribe(place);
    place();
  }

  private connect(): void {
    const { editor, labels, sync } = this;
    labels.labels.subscribe((value) => editor.labels.set([...value]));
    editor.problem.subscribe((problem) => {
      if (problem) toast(problem, "error");
    });
    this.images.current.subscribe((id) => {
      if (id) history.replaceState(null, "", `#${encodeURIComponent(id)}`);
    });
    connectKeys(editor, labels, {
      pick: (tool) => this.pick(tool),
      step: (by) => void this.step(by),
      done: () => void this.toggleDone(),
      help: () => void openHelp(),
      label: (name) => this.applyLabel(name),
    });
    connectDrop(byId("app"), (files) => void this.take(files));
    connectDrawers(this.images.current);
    window.addEventListener("beforeunload", (event) => {
      if (sync.status.value.unsaved) event.preventDefault();
    });
    window.addEventListener("online", () => sync.wake());
    window.addEventListener("focus", () => void this.refresh());
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") void this.refresh();
    });
  }

  private pick(tool: Tool): void {
    this.editor.tool.set(tool);
    if (tool === "everything") void this.everything.run();
    else this.everything.stop();
  }

  private async open(image: ImageItem): Promise<void> {
    if (image.id === this.images.current.value && this.workspace.phase.value.kind === "ready") return;
    if (!(await this.leaveDraft())) return;
    this.everything.stop();
    if (this.editor.tool.value === "everything") this.editor.tool.set("point");
    await this.workspace.open(image);
  }

  /** A few clicks are soon made again; work by hand is not thrown away without a question. */
  private async leaveDraft(): Promise<boolean> {
    const draft = this.editor.draft.value;
    if (!draft || (!draft.added && !draft.removed && draft.points.length < 3)) return true;
    const choice = await openDialog({
      title: "This mask is not accepted yet",
      testid: "leave-draft",
      content: ["It is lost when you go to another image without accepting it."],
      choices: [
        { value: "discard", name: "Discard it" },
        { value: "accept", name: "Accept and go on", kind: "primary" },
      ],
    });
    if (choice === "accept") this.editor.accept();
    return choice !== null;
  }

  private async step(by: 1 | -1): Promise<void> {
    const [next] = this.images.neighbours(by, 1);
    if (next) await this.open(next);
  }

  /** Done, and on to the next image; an image that is done already is opened again. */
  private async toggleDone(): Promise<void> {
    const { image } = this.workspace;
    if (!image) return;
    const [next] = this.images.neighbours(1, 1);
    const state = image.state === "done" ? (image.annotations ? "in_progress" : "new") : "done";
    try {
      const saved = await this.api.setState(image.id, state);
      // Masks on their way to the server are not counted there yet.
      const annotations = this.images.find(image.id)?.annotations ?? saved.annotations;
      this.images.put({ ...saved, annotations });
      if (state === "done" && next) await this.open(next);
      else if (state === "done") toast("Done. This was the last image of the list.");
    } catch (error) {
      toast(`The state was not saved: ${messageOf(error)}`, "error");
    }
  }

  /** For the selected mask, and for those that come; the same label again takes it away. */
  private applyLabel(name: string): void {
    const { editor } = this;
    const selected = editor.draft.value ? null : editor.selected;
    if (selected) {
      editor.relabel(selected.id, selected.label === name ? null : name);
      editor.label.set(name);
    } else editor.label.set(editor.label.value === name ? null : name);
  }

  private async refresh(): Promise<void> {
    const changed = await this.workspace.refresh().catch(() => 0);
    if (changed) toast(`${changed} ${changed === 1 ? "mask was" : "masks were"} changed in another tab; now shown here.`);
    await this.labels.load().catch(() => {});
  }

  private async addImages(files: File[]): Promise<void> {
    try {
      const { images, skipped } = await this.api.addImages(files);
      for (const sentence of skipped) toast(sentence, "error");
      await this.images.load();
      if (images.length) toast(images.length === 1 ? `Added ${images[0]!.file_name}.` : `Added ${images.length} images.`);
      const first = images[0] && this.images.find(images[0].id);
      if (first && !this.editor.draft.value) await this.open(first);
    } catch (error) {
      toast(`The images were not added: ${messageOf(error)}`, "error");
    }
  }

  /** Dropped files: pictures are added, and of anything else it is asked what annotations they are. */
  private async take(files: File[]): Promise<void> {
    const annotations = files.filter(({ name }) => ANNOTATIONS.test(name));
    const images = files.filter((file) => !annotations.includes(file));
    if (images.length) await this.addImages(images);
    if (annotations.length) await this.importAnnotations(annotations);
  }

  private async importAnnotations(chosen: File[] = []): Promise<void> {
    const imported = await importDialog(this.api, chosen);
    if (!imported) return;
    await Promise.all([this.images.load(), this.labels.load()]).catch(() => {});
    await this.workspace.refresh().catch(() => 0);
  }
}

async function main(): Promise<void> {
  const api = new Api();
  const address = new URL(location.href);
  if (address.searchParams.has("token")) {
    // The server has put it into a cookie; it has no business in the history of the browser.
    address.searchParams.delete("token");
    history.replaceState(null, "", address);
  }
  try {
    await new App(api, await api.project()).start();
  } catch (error) {
    document.body.classList.add("failed");
    const again = await confirmDialog("opensam cannot start", messageOf(error), "Try again");
    if (again) location.reload();
  }
}

void main();
