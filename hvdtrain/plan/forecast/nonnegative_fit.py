"""Small fits with coefficients that cannot be negative, in plain Python: it starts at once."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

ROUNDS = 120
# Of the new weights in each round: all at once they would swing to and fro.
_STEP = 0.3
_SMALLEST_WEIGHT = 1e-6
# A residual that only comes from rounding.
_EXACT = 1e-9


def fit_least_power(
    rows: Sequence[Sequence[float]], targets: Sequence[float], power: float
) -> list[float]:
    """Coefficients x >= 0 with the smallest sum of |row . x - target| ** power.

    By least squares with weights that follow the residuals. At power 2 it is least squares; the
    higher the power, the more the largest residual alone counts.

    Args:
        rows: As many as there are targets; all of one length, at most about 6.
        targets: One value for each row.
        power: Exponent of the errors that are summed up, 2 or more.
    """
    weights = [1.0] * len(rows)
    fitted = _fit_weighted(rows, targets, weights)
    best, best_error = fitted, math.inf
    for _ in range(ROUNDS if power > 2 else 1):
        residuals = [
            abs(_dot(row, fitted) - target) for row, target in zip(rows, targets, strict=True)
        ]
        error = sum(residual**power for residual in residuals)
        if error < best_error:
            best, best_error = fitted, error
        largest = max(residuals)
        if largest < _EXACT:
            return fitted
        for number, residual in enumerate(residuals):
            wanted = (residual / largest) ** (power - 2) + _SMALLEST_WEIGHT
            weights[number] += _STEP * (wanted - weights[number])
        fitted = _fit_weighted(rows, targets, weights)
    return best


def _dot(left: Sequence[float], right: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))


def _fit_weighted(
    rows: Sequence[Sequence[float]], targets: Sequence[float], weights: Sequence[float]
) -> list[float]:
    """Non-negative least squares: the best of all choices of columns whose solution is positive."""
    count = len(rows[0])
    scales = [math.sqrt(sum(row[i] ** 2 for row in rows)) or 1.0 for i in range(count)]
    scaled = [[value / scale for value, scale in zip(row, scales, strict=True)] for row in rows]
    gram = [
        [
            sum(w * row[i] * row[j] for w, row in zip(weights, scaled, strict=True))
            for j in range(count)
        ]
        for i in range(count)
    ]
    right = [
        sum(w * row[i] * t for w, row, t in zip(weights, scaled, targets, strict=True))
        for i in range(count)
    ]
    best, best_gain = [0.0] * count, 0.0
    for size in range(1, count + 1):
        for chosen in itertools.combinations(range(count), size):
            part = _solve(
                [[gram[i][j] for j in chosen] for i in chosen], [right[i] for i in chosen]
            )
            if part is None or min(part) < 0:
                continue
            # At its optimum, a choice takes this much off the sum of squares.
            gain = _dot(part, [right[i] for i in chosen])
            if gain > best_gain * (1 + 1e-12):
                best, best_gain = [0.0] * count, gain
                for i, value in zip(chosen, part, strict=True):
                    best[i] = value / scales[i]
    return best


def _solve(matrix: list[list[float]], right: list[float]) -> list[float] | None:
    """The solution of a small symmetric system; None: its columns depend on each other."""
    size = len(right)
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for column in range(size):
        pivot = max(range(column, size), key=lambda i: abs(rows[i][column]))
        if abs(rows[pivot][column]) < 1e-10 * abs(matrix[column][column] or 1.0):
            return None
        rows[column], rows[pivot] = rows[pivot], rows[column]
        for below in range(column + 1, size):
            factor = rows[below][column] / rows[column][column]
            rows[below] = [a - factor * b for a, b in zip(rows[below], rows[column], strict=True)]
    solution = [0.0] * size
    for i in reversed(range(size)):
        known = sum(rows[i][j] * solution[j] for j in range(i + 1, size))
        solution[i] = (rows[i][size] - known) / rows[i][i]
    return solution
