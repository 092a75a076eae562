/** The model as the editor sees it: questions wait until it has seen the open image. */
import { messageOf } from "../project/api";
import type { Prediction, Prompt, Segmenter } from "./segmenter";
import type { EmbeddingInfo } from "../project/types";

export interface Session extends Segmenter {
  setImage(info: EmbeddingInfo): Promise<void>;
}

export class CurrentModel implements Segmenter {
  private ready: Promise<void> = Promise.reject(new Error("No image is open."));

  constructor(private readonly session: Promise<Session>) {
    this.ready.catch(() => {});
  }

  /** Another image: from now on questions are about it. Gives what went wrong, or null. */
  async see(embedding: Promise<EmbeddingInfo>): Promise<string | null> {
    const ready = Promise.all([this.session, embedding]).then(([session, info]) => session.setImage(info));
    this.ready = ready;
    try {
      await ready;
      return null;
    } catch (error) {
      return messageOf(error);
    }
  }

  async predict(prompt: Prompt): Promise<Prediction> {
    const { ready } = this;
    const session = await this.session;
    await ready;
    if (ready !== this.ready) throw new Error("Another image was opened.");
    return session.predict(prompt);
  }
}
