"""Networks that read texts: a bag of n-grams, a recurrent one, a transformer, any backbone."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from cluster.neural.backbone import text_encoder
from nlp._tokens import BLANK, START

FAR = -1e9  # what attention adds to a place that is padding


class Bag(nn.Module):
    """A linear classifier over n-grams scaled by naive Bayes, an averaged embedding beside it.

    The linear part is NBSVM (Wang and Manning 2012, aclanthology.org/P12-2018) as gradient descent
    likes it: the weight of an n-gram is gain * (w + lean) * r, r its log-count ratio and w zero at
    first, so the network starts as naive Bayes. A sum is divided by the root of the number of
    n-grams. N-grams are dropped in training (Iyyer et al. 2015, aclanthology.org/P15-1162). The
    embedding is fastText's (arXiv:1607.01759). Row 0 of every table is zero: padding adds nothing.
    """

    ratios: Tensor

    def __init__(
        self, ratios: NDArray[np.float32], *, dim: int, dropout: float, lean: float, gain: float
    ) -> None:
        super().__init__()
        size, self.classes = ratios.shape
        self.dim, self.dropout, self.lean = dim, dropout, lean
        self.register_buffer("ratios", torch.from_numpy(ratios) * gain)
        self.weight = nn.Parameter(torch.zeros(size, self.classes))
        self.bias = nn.Parameter(torch.zeros(self.classes))
        if dim:
            start = torch.randn(size, dim) * 0.1
            start[0] = 0
            self.embed = nn.Parameter(start)
            self.head = nn.Sequential(nn.ReLU(), nn.Dropout(dropout), nn.Linear(dim, self.classes))

    def forward(self, ids: Tensor) -> Tensor:
        """Ids `[n, length]` to logits `[n, classes]`."""
        table = (self.weight + self.lean) * self.ratios
        if self.dim:
            table = torch.cat([table, self.embed], 1)
        total = sum_grams(ids, table, dropout=self.dropout if self.training else None)
        logits = total[:, : self.classes] + self.bias
        return logits + self.head(total[:, self.classes :]) if self.dim else logits


class RareBag(nn.Module):
    """A sum of n-gram vectors, each weighted by how few texts hold the n-gram.

    Before it learns, it is a random projection of tf-idf: texts that share rare n-grams are near.
    Row 0 weighs nothing: it is padding.

    Args:
        rarity: the weight of each n-gram `[size]`.
        dim: how many numbers a vector has.
        dropout: the share of n-grams that a text loses in training.
    """

    rarity: Tensor

    def __init__(self, rarity: NDArray[np.float32], *, dim: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.register_buffer("rarity", torch.from_numpy(rarity)[:, None])
        self.embed = nn.Parameter(torch.randn(len(rarity), dim) * dim**-0.5)

    def forward(self, ids: Tensor) -> Tensor:
        """Ids `[n, length]` to `[n, dim]`."""
        table = self.embed * self.rarity
        return sum_grams(ids, table, dropout=self.dropout if self.training else None)


class AttentionPool(nn.Module):
    """A learnt weighted mean over the real places (Yang et al. 2016, aclanthology.org/N16-1174)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.key = nn.Linear(width, width)
        self.query = nn.Linear(width, 1, bias=False)

    def forward(self, states: Tensor, real: Tensor) -> Tensor:
        """`[n, length, width]` to `[n, width]`."""
        score = self.query(torch.tanh(self.key(states))).squeeze(2).masked_fill(~real, FAR)
        pooled: Tensor = (score.softmax(1).unsqueeze(1) @ states).squeeze(1)
        return pooled


class Recurrent(nn.Module):
    """A bidirectional LSTM with attention (Schuster and Paliwal 1997, doi:10.1109/78.650093).

    The second direction reads the real tokens of each row backwards, padding still behind them, so
    padding changes no state that is used and the length stays free in the exported graph.
    """

    def __init__(self, size: int, classes: int, *, width: int, dropout: float) -> None:
        super().__init__()
        self.embed = nn.Embedding(size, width, padding_idx=0)
        nn.init.normal_(self.embed.weight, std=0.1)
        self.forth = nn.LSTM(width, width, batch_first=True)
        self.back = nn.LSTM(width, width, batch_first=True)
        self.pool = AttentionPool(2 * width)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(2 * width, classes)

    def forward(self, ids: Tensor) -> Tensor:
        """Ids `[n, length]` to logits `[n, classes]`."""
        ids = drop_words(ids) if self.training else ids
        real = ids > 0
        states = self.drop(self.embed(ids))
        place = real.cumsum(1) - 1
        mirror = (place[:, -1:] - torch.where(real, place, 0)).unsqueeze(2)
        there, _ = self.forth(states)
        again, _ = self.back(states.gather(1, mirror.expand(-1, -1, states.shape[2])))
        again = again.gather(1, mirror.expand(-1, -1, again.shape[2]))
        both = self.drop(torch.cat([there, again], 2))
        logits: Tensor = self.head(self.drop(self.pool(both, real)))
        return logits


class Block(nn.Module):
    """A pre-norm transformer layer (arXiv:1706.03762, arXiv:2002.04745)."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.drop = nn.Dropout(dropout)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """`[n, length, width]` in and out; `mask` is added to the attention scores."""
        n, length, width = states.shape
        split = self.qkv(self.norm1(states)).reshape(n, length, 3, self.heads, -1)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, dropout_p=self.dropout if self.training else 0.0
        )
        states = states + self.drop(self.out(attended.transpose(1, 2).reshape(n, length, width)))
        mixed: Tensor = states + self.drop(self.mlp(self.norm2(states)))
        return mixed


class Transformer(nn.Module):
    """A small encoder from scratch: learnt positions, pre-norm layers, attention pooling."""

    def __init__(
        self, size: int, classes: int, *, longest: int, width: int, depth: int, dropout: float
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(size, width, padding_idx=0)
        self.position = nn.Embedding(longest, width)
        nn.init.normal_(self.embed.weight, std=0.1)
        nn.init.normal_(self.position.weight, std=0.02)
        heads = max(1, width // 32)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.pool = AttentionPool(width)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(width, classes)

    def forward(self, ids: Tensor) -> Tensor:
        """Ids `[n, length]` to logits `[n, classes]`."""
        ids = drop_words(ids) if self.training else ids
        real = ids > 0
        places = torch.arange(ids.shape[1], device=ids.device)
        states = self.drop(self.embed(ids) + self.position(places))
        mask = torch.where(real, 0.0, FAR)[:, None, None, :].expand(-1, 1, ids.shape[1], -1)
        for block in self.blocks:
            states = block(states, mask.to(states.dtype))
        logits: Tensor = self.head(self.drop(self.pool(self.norm(states), real)))
        return logits


class Backbone(nn.Module):
    """Any transformers encoder by name, its states averaged over the real places."""

    def __init__(self, name: str, size: int, classes: int, *, shift: int, dropout: float) -> None:
        super().__init__()
        self.body, width = text_encoder(name, tokens=size)
        self.shift = shift
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(width, classes)

    def forward(self, ids: Tensor) -> Tensor:
        """Ids `[n, length]` to logits `[n, classes]`."""
        real = ids > 0
        inputs = (ids - self.shift).clamp(min=0).long()
        states = self.body(input_ids=inputs, attention_mask=real.long()).last_hidden_state
        weight = real.to(states.dtype).unsqueeze(2)
        mean = (states * weight).sum(1) / weight.sum(1).clamp(min=1)
        logits: Tensor = self.head(self.drop(mean))
        return logits


class Unit(nn.Module):
    """One of these networks, its outputs brought to unit length."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, ids: Tensor) -> Tensor:
        """Ids `[n, length]` to vectors `[n, dim]`."""
        return functional.normalize(self.network(ids), dim=1)


def sum_grams(ids: Tensor, table: Tensor, *, dropout: float | None) -> Tensor:
    """The rows of a table that each text names, summed and divided by the root of their number.

    Args:
        ids: `[n, length]`, zeros behind.
        table: `[size, width]`, whose row 0 is zero.
        dropout: the share that is left out in training; None when not in training.
    """
    if dropout is None:  # in operators that every runtime has
        total = functional.embedding(ids, table).sum(1)
    else:
        ids = ids * (torch.rand(ids.shape, device=ids.device) >= dropout)
        some = ids > 0
        ends = functional.pad(some.sum(1).cumsum(0), (1, 0)).to(ids.dtype)
        total = functional.embedding_bag(
            ids[some], table, ends, mode="sum", include_last_offset=True
        )
    return total * (ids > 0).sum(1, keepdim=True).clamp(min=1).to(total.dtype).rsqrt()


def drop_words(ids: Tensor, share: float = 0.1) -> Tensor:
    """Blank some words in training, never the start mark (Iyyer et al. 2015)."""
    hit = (torch.rand(ids.shape, device=ids.device) < share) & (ids > START)
    return ids.masked_fill(hit, BLANK)
