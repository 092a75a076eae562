/** The decoder's weights: what `opensam.export.browser` writes, laid out as the kernels want it. */
import { TILE } from "./kernels";
import type { Linear, Norm, Store, Tiled } from "./store";

/** Channels of a mask's code, and what a mask adds to image tokens: a vector for each and one that they share. */
export const MASK_CHANNELS = 16;
export const MASK_ROWS = MASK_CHANNELS + 1;

/** Tokens attend to the image. */
export interface Read {
  queries: Linear;
  out: Linear;
  imageKeys: Tiled;
  imageValues: Tiled;
  /** Values of what all image tokens have in common, with the bias. */
  shift: number;
}

/** The image attends to tokens. */
export interface Write {
  keys: Linear;
  values: Linear;
  imageQueries: Tiled;
  /** Output matrix: for each head a row per channel, and one for what is constant. */
  outs: Tiled;
  norm: Norm;
}

export interface Layer {
  attention: { queries: Linear; keys: Linear; values: Linear; out: Linear };
  norms: [Norm, Norm, Norm];
  mlp: [Linear, Linear];
  read: Read;
  write: Write;
}

export type Weights = ReturnType<typeof weightsOf>;

export function weightsOf(store: Store) {
  const { facts } = store.header;
  const heads = Number(facts.heads);
  const channels = store.shape("mask_decoder.iou_token.weight")[1]!;
  const transformer = "mask_decoder.transformer";
  const final = `${transformer}.final_attn_token_to_image`;
  const width = store.shape(`${final}.k_proj.weight`)[0]!;
  const masks = store.shape("mask_decoder.mask_tokens.weight")[0]!;
  const imageSize = Number(facts.image_size);
  if (facts.format !== "2" || width % TILE || channels % TILE || imageSize % (8 * 16)) {
    throw new Error("The decoder of this model is none that the browser can run.");
  }
  const layers = Array.from({ length: Number(facts.layers) }, (_, number) => layerOf(store, number));
  const head = (name: string): Linear[] => [0, 1, 2].map((number) => store.linear(`mask_decoder.${name}.layers.${number}`));
  return {
    imageSize,
    heads,
    channels,
    /** Of a head, where image tokens attend or are attended to. */
    depth: width / heads,
    width,
    layers,
    final: { read: readOf(store, final, layers.length), norm: store.norm(`${transformer}.norm_final_attn`) },
    image: imageRows(store),
    code: { at: store.plain("fold.code_matrix"), rows: store.shape("fold.code_matrix")[0]!, bias: store.plain("fold.code_bias") },
    upscaledImage: store.plain("fold.upscaling_matrix"),
    firstUpscaling: {
      matrix: store.tiled("fold.first_matrix"),
      bias: store.plain("fold.first_bias"),
      norm: store.norm("mask_decoder.output_upscaling.1"),
    },
    secondUpscaling: { matrix: store.plain("fold.second_matrix"), bias: store.plain("fold.second_bias") },
    hypernetworks: Array.from({ length: masks }, (_, number) => head(`output_hypernetworks_mlps.${number}`)),
    iouHead: head("iou_prediction_head"),
    masks,
    outputTokens: store.place((1 + masks) * channels, (values) => [
      ...values("mask_decoder.iou_token.weight"),
      ...values("mask_decoder.mask_tokens.weight"),
    ]),
    points: {
      kinds: [0, 1, 2, 3].map((kind) => store.plain(`prompt_encoder.point_embeddings.${kind}.weight`)),
      none: store.plain("prompt_encoder.not_a_point_embed.weight"),
      frequencies: store.plain("prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"),
    },
    maskVectors: store.tiled("fold.mask_outs", (values) => values.subarray(0, MASK_ROWS * channels), MASK_ROWS),
    maskCode: maskCodeOf(store),
    noMask: store.plain("prompt_encoder.no_mask_embed.weight"),
  };
}

function layerOf(store: Store, number: number): Layer {
  const name = `mask_decoder.transformer.layers.${number}`;
  const linear = (part: string): Linear => store.linear(`${name}.${part}`);
  const [, heads, depth, channels] = store.shape("fold.outs") as [number, number, number, number];
  const size = heads * depth * channels;
  return {
    attention: {
      queries: linear("self_attn.q_proj"),
      keys: linear("self_attn.k_proj"),
      values: linear("self_attn.v_proj"),
      out: linear("self_attn.out_proj"),
    },
    norms: [store.norm(`${name}.norm1`), store.norm(`${name}.norm2`), store.norm(`${name}.norm3`)],
    mlp: [linear("mlp.lin1"), linear("mlp.lin2")],
    read: readOf(store, `${name}.cross_attn_token_to_image`, number),
    write: {
      keys: linear("cross_attn_image_to_token.k_proj"),
      values: linear("cross_attn_image_to_token.v_proj"),
      imageQueries: store.tiled(`${name}.cross_attn_image_to_token.q_proj.weight`),
      outs: store.tiled("fold.outs", (values) => values.subarray(number * size, (number + 1) * size), heads * depth),
      norm: store.norm(`${name}.norm4`),
    },
  };
}

function readOf(store: Store, name: string, level: number): Read {
  const [width, channels] = store.shape(`${name}.v_proj.weight`) as [number, number];
  return {
    queries: store.linear(`${name}.q_proj`),
    out: store.linear(`${name}.out_proj`),
    imageKeys: store.tiled(`${name}.k_proj.weight`),
    imageValues: store.tiled(`${name}.v_proj.weight`),
    shift: store.place(width, (values) => {
      const matrix = values(`${name}.v_proj.weight`);
      const common = values("fold.constants").subarray(level * channels, (level + 1) * channels);
      return values(`${name}.v_proj.bias`).map((bias, row) =>
        common.reduce((sum, value, column) => sum + value * matrix[row * channels + column]!, bias),
      );
    }),
  };
}

/** All that is projected from image tokens for a picture: `fold.image_matrix`, then for each layer twice what a mask adds. */
function imageRows(store: Store): { at: number; rows: number; masks: number } {
  const [rows, channels] = store.shape("fold.image_matrix") as [number, number];
  const layers = store.shape("fold.mask_matrix")[0]!;
  const all = rows + layers * MASK_ROWS;
  const at = store.place(all * channels, (values) => {
    const matrix = new Float32Array(all * channels);
    matrix.set(values("fold.image_matrix"));
    matrix.set(
      values("fold.mask_matrix").map((value) => 2 * value),
      rows * channels,
    );
    return matrix;
  });
  return { at, rows: all, masks: rows };
}

/**
 * The first two convolutions of a mask prompt for one cell, as matrices: from its 4 x 4 logits to 4 places of 4 channels,
 * and from these to 16 channels. The mean that the norms after them take away is taken away here.
 */
function maskCodeOf(store: Store) {
  const name = "prompt_encoder.mask_downscaling";
  const few = store.shape(`${name}.0.weight`)[0]!;
  const many = MASK_CHANNELS;
  const first = store.place(16 * 16, (values) => {
    const weight = centred(values(`${name}.0.weight`), few);
    const matrix = new Float32Array(16 * 16);
    for (let place = 0; place < 4; place++) {
      for (let channel = 0; channel < few; channel++) {
        for (let tap = 0; tap < 4; tap++) {
          const y = 2 * (place >> 1) + (tap >> 1);
          const x = 2 * (place & 1) + (tap & 1);
          matrix[(place * few + channel) * 16 + 4 * y + x] = weight[channel * 4 + tap]!;
        }
      }
    }
    return matrix;
  });
  const second = store.place(many * 16, (values) => {
    const weight = centred(values(`${name}.3.weight`), many);
    return weight.map((_, at) => weight[(at >> 4) * 16 + (at & 3) * 4 + ((at & 15) >> 2)]!);
  });
  return {
    first,
    firstBias: store.place(16, (values) => Float32Array.from({ length: 16 }, (_, at) => centred(values(`${name}.0.bias`), few)[at % few]!)),
    firstNorm: store.norm(`${name}.1`),
    second,
    secondBias: store.place(many, (values) => centred(values(`${name}.3.bias`), many)),
    secondNorm: store.norm(`${name}.4`),
  };
}

/** Without the mean over the first axis. */
function centred(values: Float32Array, rows: number): Float32Array {
  const columns = values.length / rows;
  const means = new Float32Array(columns);
  values.forEach((value, at) => (means[at % columns]! += value / rows));
  return values.map((value, at) => value - means[at % columns]!);
}
