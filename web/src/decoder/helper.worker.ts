/** One more thread of the decoder: does what the first one does, on its own share. */
import { Decoder } from "./decoder";
import type { ToHelper } from "./messages";

let decoder: Decoder;

self.onmessage = ({ data }: MessageEvent<ToHelper>): void => {
  if (data.kind === "join") {
    decoder = new Decoder(data.thread);
    self.postMessage("joined");
    decoder.start();
  } else if (data.kind === "project") decoder.project(data.slot, data.grid);
  else decoder.decode(data.task);
};
