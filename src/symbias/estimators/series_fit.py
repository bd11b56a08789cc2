"""A fitted series: where it changes, how sure that is, and the fit without shrinkage."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from symbias._core.numbers import whole
from symbias.estimators import by_knots
from symbias.estimators.confidence import Noise, change_ranges, false_alarm_share
from symbias.estimators.descent import Fitted
from symbias.estimators.observed import Observed, since
from symbias.penalties import Penalty, Spectral, TotalVariation
from symbias.solvers import Loss, SquaredError


@dataclass(frozen=True, eq=False, kw_only=True)
class SeriesFit(Fitted):
    """A fitted series.

    Attributes
    ----------
    times : array (n,)
        Distinct time stamps in order, those of missing values included; as they were given:
        floats, integers or datetime64.
    fitted : array (n,) or (n, channels)
        The fit there.
    observed_times, observed : array (n_observed,), of channels (n_observed, channels)
        In order, nan where a channel was not observed; stamps may be repeated.
    penalty : Penalty
        With the spacing of this series.
    step : float
        The typical (median) time between neighbours; of dates in days.
    loss : Loss
    strength, strength_max : float
        From ``strength_max`` on the fit is a constant, or a line.
    objective, dual_gap : float
        Of ``sum (y - fit)^2 / (2 n_observed) + strength * penalty``, over all channels; the gap
        is what is left to gain at most.
    n_iter : int
    converged : bool
    changes : array of int
        The observed stamps after which the level jumps, or at which the slope changes; the
        frequencies that are not zero.
    strengths, errors : array (n_strengths,), (n_strengths, n_folds), or None
        What cross-validation tried, and the mean squared errors on left-out values.
    """

    times: np.ndarray
    observed_times: np.ndarray
    observed: np.ndarray
    penalty: Penalty
    step: float
    loss: Loss

    @property
    def breaks(self) -> np.ndarray:
        """Pairs (before, after) of observed times between which the level jumps (TotalVariation),
        or (at, at) where the slope changes (TrendFilter); shape (k, 2), empty otherwise."""
        if isinstance(self.penalty, Spectral):
            return np.zeros((0, 2), dtype=self.times.dtype)
        stamps = np.unique(self.observed_times)
        if isinstance(self.penalty, TotalVariation):
            return np.column_stack([stamps[self.changes], stamps[self.changes + 1]])
        return np.column_stack([stamps[self.changes]] * 2)

    @property
    def spectrum(self) -> tuple[np.ndarray, np.ndarray]:
        """Periods (in time units, of dates in days, longest first) and cosine coefficients."""
        k = np.arange(1, len(self.coefficients))
        return 2 * len(self.coefficients) * self.step / k, self.coefficients[1:]

    @property
    def strongest_period(self) -> float | None:
        """The period of the largest cosine coefficient, None where none is kept."""
        periods, coefficients = self.spectrum
        return float(periods[np.argmax(np.abs(coefficients))]) if np.any(coefficients) else None

    @cached_property
    def seen(self) -> Observed:
        """Distinct observed stamps, in typical steps since the first of `times`, and the means."""
        return Observed.of(self.in_steps(self.observed_times), self.observed)

    @cached_property
    def unshrunk(self) -> np.ndarray | None:
        """The fit with shrinkage undone, at ``times``: least squares with the same changes.

        None without a change, and where they are more than a quarter of the values.
        """
        if isinstance(self.penalty, Spectral) or not 0 < len(self.changes) < len(self.observed) / 4:
            return None
        return by_knots.between(
            self._order, self.in_steps(self.times), self.seen.times, self._refit
        ).T

    @cached_property
    def _refit(self) -> np.ndarray:
        """Least squares with the same changes, at the observed stamps; channels in rows."""
        series = by_knots.series_of(self.seen, self._order, SquaredError())
        return series.refit(self.changes - (self._order - 1))

    @property
    def _order(self) -> int:
        return 1 if isinstance(self.penalty, TotalVariation) else 2

    def intervals(self, level: float = 0.95) -> np.ndarray:
        """Confidence intervals of where the changes stand, each given the others.

        Likelihood-ratio intervals with long-run variances of the noise: conservative for jumps, of
        nearly their level for kinks. See `symbias.estimators.confidence` for theorems. They say
        nothing of how many changes there are.

        Parameters
        ----------
        level : float
            Between 0 and 1.

        Returns
        -------
        array (changes, 2) of times
            A jump lies between the two stamps, a kink at one of those from the first to the second.

        Raises
        ------
        ValueError
            For spectra, which have no changes; a loss other than squares; more changes than a
            quarter of the values; and too many kinks (a dense matrix of stamps by kinks).
        """
        self._check_changes("intervals")
        if not 0 < level < 1:
            raise ValueError(f"level must be between 0 and 1, got {level!r}")
        stamps = np.unique(self.observed_times)
        if not len(self.changes):
            return np.zeros((0, 2), dtype=stamps.dtype)
        ranges = change_ranges(self.seen, self._order, self.changes, self._noise, level)
        return stamps[ranges + (np.array([0, 1]) if self._order == 1 else 0)]

    def false_alarms(self, draws: int = 200, random_state: int = 0) -> float:
        """The share of series of noise alone that show a change at this strength.

        Noise: the residuals of the unshrunk fit, drawn in blocks of n^(1/3) with replacement. Of a
        strength that was chosen on the same data, the share is a little too small. Cost O(n) a
        draw.

        Raises
        ------
        ValueError
            As `intervals` does.
        """
        self._check_changes("false_alarms")
        draws = whole("draws", draws, 1)
        return false_alarm_share(
            self.seen, self._order, self._noise, self.strength, draws, random_state
        )

    @cached_property
    def _noise(self) -> Noise:
        return Noise(self.seen, self._order, len(self.changes), self._refit.T)

    def _check_changes(self, what: str) -> None:
        if isinstance(self.penalty, Spectral):
            raise ValueError(f"{what} are of changes: a spectrum has none")
        if not isinstance(self.loss, SquaredError):
            raise ValueError(f"{what} are known for squared errors, not for {self.loss!r}")
        if len(self.changes) >= len(self.observed) / 4:
            raise ValueError(
                f"{what} need at least four values a change, got {len(self.observed)} values and "
                f"{len(self.changes)} changes"
            )

    def __repr__(self) -> str:
        return (
            f"SeriesFit({self.penalty!r}, n={len(self.observed)}, strength={self.strength:.6g}, "
            f"changes={len(self.changes)}, objective={self.objective:.6g}, "
            f"dual_gap={self.dual_gap:.2g}, converged={self.converged})"
        )

    def in_steps(self, times: np.ndarray) -> np.ndarray:
        """Times in typical steps since the first stamp."""
        return since(self.times[0], times) / self.step
