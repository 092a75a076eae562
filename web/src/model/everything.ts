/** "Everything": asks the server for all masks of the open image and shows how far it is. */
import { messageOf, type Api } from "../project/api";
import type { Editor } from "../editor";
import type { Signal } from "../signal";
import { buildProposalBar, type ProposalBar } from "../panels/stage_bars";
import { toast } from "../panels/toast";

export class Everything {
  private running: AbortController | null = null;
  private readonly bar: ProposalBar;

  constructor(
    host: HTMLElement,
    private readonly api: Pick<Api, "generate">,
    private readonly editor: Editor,
    private readonly image: Signal<string | null>,
  ) {
    this.bar = buildProposalBar(host, editor, () => this.stop());
  }

  /** Finds all masks, unless those of this image are there or on their way. */
  async run(): Promise<void> {
    const { editor } = this;
    const id = this.image.value;
    if (this.running || !id || !editor.isOpen || editor.proposals.all.value) return;
    const running = new AbortController();
    this.running = running;
    this.bar.progress(0, 0);
    try {
      const masks = await this.api.generate(id, (done, total) => this.bar.progress(done, total), running.signal);
      if (running.signal.aborted) return;
      editor.proposals.show(masks);
      editor.say(`${masks.length} masks found`);
    } catch (error) {
      if (!running.signal.aborted) toast(`The masks could not be found: ${messageOf(error)}`, "error");
    } finally {
      if (this.running === running) this.running = null;
      if (!this.running) this.bar.finished();
    }
  }

  stop(): void {
    this.running?.abort();
    this.running = null;
    this.bar.finished();
  }
}
