"""The contrastive loss, against its definition written out."""

import math

import torch
from torch.nn import functional

from cluster.neural.contrast import contrast


def by_definition(vectors: torch.Tensor, groups: list[int], temperature: float) -> float:
    losses = []
    for row, group in enumerate(groups):
        others = [other for other in range(len(groups)) if other != row]
        mine = [other for other in others if groups[other] == group]
        score = {o: math.exp(float(vectors[row] @ vectors[o]) / temperature) for o in others}
        if mine:
            chances = [math.log(score[o] / sum(score.values())) for o in mine]
            losses.append(-sum(chances) / len(chances))
    return sum(losses) / max(1, len(losses))


def test_it_is_its_definition() -> None:
    torch.manual_seed(0)
    vectors = functional.normalize(torch.randn(7, 4), dim=1)
    groups = [0, 0, 1, 1, 1, 2, 0]
    for temperature in (0.1, 1.0):
        loss = contrast(vectors, torch.tensor(groups), temperature)
        assert math.isclose(float(loss), by_definition(vectors, groups, temperature), rel_tol=1e-4)


def test_rows_of_one_group_move_together_and_others_apart() -> None:
    torch.manual_seed(0)
    rows = torch.randn(8, 3, requires_grad=True)
    groups = torch.arange(8) % 2
    for _ in range(200):
        (slope,) = torch.autograd.grad(contrast(functional.normalize(rows), groups, 0.5), rows)
        rows = (rows - slope).detach().requires_grad_()
    alike = functional.normalize(rows) @ functional.normalize(rows).T
    same = groups[:, None] == groups
    assert alike[same].min() > 0.95
    assert alike[~same].max() < 0


def test_rows_that_are_all_alone_teach_nothing_and_break_nothing() -> None:
    rows = functional.normalize(torch.randn(3, 4)).requires_grad_()
    loss = contrast(rows, torch.arange(3), 0.1)
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) == 0
    assert rows.grad is not None
    assert torch.isfinite(rows.grad).all()
