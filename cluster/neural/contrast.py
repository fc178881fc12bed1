"""Teach a network that rows of one group are near each other and far from all others."""

import torch
from torch import Tensor


def contrast(vectors: Tensor, groups: Tensor, temperature: float) -> Tensor:
    """How unlikely each row is to pick one of its own group among all others of the batch.

    The supervised contrastive loss (Khosla et al. 2020, arXiv:2004.11362, equation 2). Where a
    group is two views of one row it is NT-Xent (Chen et al. 2020, arXiv:2002.05709).

    Args:
        vectors: `[n, dim]` of unit length.
        groups: `[n]`, equal for rows that belong together; a row that is alone teaches nothing.
        temperature: how much the hardest rows count, more when lower.
    """
    with torch.autocast(vectors.device.type, enabled=False):  # 8 bits rank no neighbours
        alike = vectors.float() @ vectors.float().T / temperature
    itself = torch.eye(len(alike), dtype=torch.bool, device=alike.device)
    alike = alike.masked_fill(itself, float("-inf"))
    together = (groups[:, None] == groups) & ~itself
    chance = torch.where(together, alike.log_softmax(1), 0.0)
    count = together.sum(1)
    per_row = -chance.sum(1) / count.clamp(min=1)
    return per_row.sum() / (count > 0).sum().clamp(min=1)
