"""The two-way transformer of the mask decoder: tokens attend to the image, the image attends to tokens.

Letters: P prompts, T tokens per prompt, K = h * w image tokens, C channels.
"""

from torch import Tensor, nn

from opensam.models.layers import MLPBlock, attention


class Attention(nn.Module):
    """Multi-head attention whose inner width is the embedding width divided by `downsample_rate`."""

    def __init__(self, embedding_dim: int, num_heads: int, downsample_rate: int = 1) -> None:
        super().__init__()
        internal_dim = embedding_dim // downsample_rate
        self.num_heads = num_heads
        self.q_proj = nn.Linear(embedding_dim, internal_dim)
        self.k_proj = nn.Linear(embedding_dim, internal_dim)
        self.v_proj = nn.Linear(embedding_dim, internal_dim)
        self.out_proj = nn.Linear(internal_dim, embedding_dim)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """(P, Q, C), (P, K, C), (P, K, C) -> (P, Q, C)."""
        projected = self.q_proj(q), self.k_proj(k), self.v_proj(v)
        heads = [x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for x in projected]
        return self.out_proj(attention(*heads).transpose(1, 2).flatten(2))


class TwoWayAttentionBlock(nn.Module):
    """Self-attention of tokens, tokens to image, feed-forward on tokens, image to tokens; norms after the residuals.

    In the first block (`skip_first_layer_pe`) self-attention sees no position code and replaces the tokens instead of
    being added to them, as in the official code.
    """

    def __init__(self, embedding_dim: int, num_heads: int, mlp_dim: int, skip_first_layer_pe: bool) -> None:
        super().__init__()
        self.self_attn = Attention(embedding_dim, num_heads)
        self.norm1 = nn.LayerNorm(embedding_dim)
        self.cross_attn_token_to_image = Attention(embedding_dim, num_heads, downsample_rate=2)
        self.norm2 = nn.LayerNorm(embedding_dim)
        self.mlp = MLPBlock(embedding_dim, mlp_dim, nn.ReLU)
        self.norm3 = nn.LayerNorm(embedding_dim)
        self.norm4 = nn.LayerNorm(embedding_dim)
        self.cross_attn_image_to_token = Attention(embedding_dim, num_heads, downsample_rate=2)
        self.dropout = nn.Dropout(0.0)  # on what is added; see `regularisation.set_regularisation`
        self.skip_first_layer_pe = skip_first_layer_pe

    def forward(self, queries: Tensor, keys: Tensor, query_pe: Tensor, key_pe: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (P, T, C) and image tokens (P, K, C) with their position codes -> both, updated."""
        queries = self.attend_to_tokens(queries, query_pe)
        k = keys + key_pe
        queries = self.norm2(queries + self.dropout(self.cross_attn_token_to_image(queries + query_pe, k, keys)))
        queries = self.norm3(queries + self.dropout(self.mlp(queries)))
        keys = self.norm4(keys + self.dropout(self.cross_attn_image_to_token(k, queries + query_pe, queries)))
        return queries, keys

    def attend_to_tokens(self, queries: Tensor, query_pe: Tensor) -> Tensor:
        """The first part of `forward`, which sees no image: tokens (P, T, C) -> (P, T, C)."""
        if self.skip_first_layer_pe:
            queries = self.self_attn(queries, queries, queries)
        else:
            q = queries + query_pe
            queries = queries + self.dropout(self.self_attn(q, q, queries))
        return self.norm1(queries)


class TwoWayTransformer(nn.Module):
    """`depth` two-way blocks and a final attention from tokens to the image."""

    def __init__(self, depth: int, embedding_dim: int, num_heads: int, mlp_dim: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            TwoWayAttentionBlock(embedding_dim, num_heads, mlp_dim, skip_first_layer_pe=i == 0) for i in range(depth)
        )
        self.final_attn_token_to_image = Attention(embedding_dim, num_heads, downsample_rate=2)
        self.norm_final_attn = nn.LayerNorm(embedding_dim)
        self.dropout = nn.Dropout(0.0)

    def forward(self, image_tokens: Tensor, image_pe: Tensor, point_embedding: Tensor) -> tuple[Tensor, Tensor]:
        """Run the decoder's transformer.

        Args:
            image_tokens: (P, K, C) image embeddings plus dense prompt embeddings.
            image_pe: (1, K, C) position code of the image tokens.
            point_embedding: (P, T, C) output tokens and sparse prompts; it is also their position code in every layer.

        Returns:
            Tokens (P, T, C) and image tokens (P, K, C).
        """
        queries, keys = point_embedding, image_tokens
        for layer in self.layers:
            queries, keys = layer(queries, keys, query_pe=point_embedding, key_pe=image_pe)
        attended = self.final_attn_token_to_image(queries + point_embedding, keys + image_pe, keys)
        return self.norm_final_attn(queries + self.dropout(attended)), keys
