"""A fitted series: where it changes, how sure that is, and the fit without shrinkage."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from symbias._core.numbers import whole
from symbias.estimators import by_knots, by_spectrum
from symbias.estimators.changepoints import crowded, false_alarm_share, refit, standing
from symbias.estimators.confidence import Noise, change_ranges
from symbias.estimators.descent import Fitted
from symbias.estimators.observed import Observed, since
from symbias.penalties import Composed, Penalty, Spectral, TrendFilter
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
        """Pairs (before, after) of observed times between which the level jumps (TotalVariation
        and sums with it),
        or (at, at) where the slope changes (TrendFilter); shape (k, 2), empty otherwise."""
        if isinstance(self.penalty, Spectral):
            return np.zeros((0, 2), dtype=self.times.dtype)
        return self._pairs(self.changes)

    def _pairs(self, changes: np.ndarray) -> np.ndarray:
        stamps = self._stamps
        return np.column_stack([stamps[changes], stamps[changes + 2 - self._order]])

    @cached_property
    def _stamps(self) -> np.ndarray:
        """Distinct observed times."""
        return np.unique(self.observed_times)

    @property
    def spectrum(self) -> tuple[np.ndarray, np.ndarray]:
        """Periods (in time units, of dates in days, longest first) and cosine coefficients."""
        k = np.arange(1, len(self.coefficients))
        return 2 * len(self.coefficients) * self.step / k, self.coefficients[1:]

    @cached_property
    def strongest_period(self) -> float | None:
        """The period (of dates in days) of the cosine, of any phase, that explains most.

        Near the largest coefficient; None where none is kept.
        """
        coefficients = np.abs(self.coefficients[1:])
        if not np.any(coefficients):
            return None
        spacing = 1 / (2 * len(self.coefficients))
        frequency = spacing * (1 + int(np.argmax(coefficients)))
        return self.step * by_spectrum.period_near(self.seen, frequency, spacing)

    @cached_property
    def seen(self) -> Observed:
        """Distinct observed stamps, in typical steps since the first of `times`, and the means."""
        return Observed.of(self.in_steps(self.observed_times), self.observed)

    @property
    def changepoints(self) -> np.ndarray:
        """The breaks that stand out of the noise, moved to where they explain most.

        A fit goes up to a large jump in stairs, and keeps some changes that are noise. Backward
        elimination, in series of noise alone wrong in 5% at most (Gaussian, of one size); see
        `symbias.estimators.changepoints`. Shape (k, 2), as `breaks`.

        Raises
        ------
        ValueError
            For spectra, which have no changes; a loss other than squares; changes at nearly every
            second value; and too many kinks (a dense matrix of stamps by kinks).
        """
        return self._pairs(self._standing)

    @property
    def places(self) -> np.ndarray:
        """The changepoints, or all breaks where those cannot be told apart."""
        try:
            return self.changepoints
        except ValueError:
            return self.breaks

    @cached_property
    def _standing(self) -> np.ndarray:
        self._check_changes()
        return standing(self.seen, self._order, self.changes)

    @cached_property
    def unshrunk(self) -> np.ndarray | None:
        """The fit with shrinkage undone, at ``times``: least squares with the changepoints.

        None where there are no changepoints to be had, or no change.
        """
        try:
            again = self._refit
        except ValueError:
            return None
        if not len(self.changes):
            return None
        grid = self.in_steps(self.times)
        return by_knots.between(self._order, grid, self.seen.times, again).T

    @cached_property
    def _refit(self) -> np.ndarray:
        return refit(self.seen, self._order, self._standing)

    @property
    def _order(self) -> int:
        return 2 if isinstance(self.penalty, TrendFilter) else 1

    def intervals(self, level: float = 0.95) -> np.ndarray:
        """Confidence intervals of where the changepoints stand, each given the others.

        Likelihood-ratio intervals with long-run variances of the noise: conservative for jumps, of
        nearly their level for kinks. See `symbias.estimators.confidence` for theorems. They say
        nothing of how many changes there are.

        Parameters
        ----------
        level : float
            Between 0 and 1.

        Returns
        -------
        array (changepoints, 2) of times
            A jump lies between the two stamps, a kink at one of those from the first to the second.

        Raises
        ------
        ValueError
            As for `changepoints`.
        """
        if not 0 < level < 1:
            raise ValueError(f"level must be between 0 and 1, got {level!r}")
        stamps = self._stamps
        if not len(self._standing):
            return np.zeros((0, 2), dtype=stamps.dtype)
        ranges = change_ranges(self.seen, self._order, self._standing, self._noise, level)
        return stamps[ranges + (np.array([0, 1]) if self._order == 1 else 0)]

    def false_alarms(self, draws: int = 200, random_state: int = 0) -> float:
        """The share of series of noise alone in which this strength leaves a changepoint.

        Noise: the residuals of the unshrunk fit, drawn in blocks of n^(1/3) with replacement. Of a
        strength that was chosen on the same data, the share is a little too small. Cost O(n) a
        draw without a change, a fit otherwise.

        Raises
        ------
        ValueError
            As for `changepoints`.
        """
        draws = whole("draws", draws, 1)
        if isinstance(self.penalty, Composed):
            raise ValueError(
                "false alarms are known for total variation and trends alone; `changepoints` keeps "
                "its level under a sum of penalties too"
            )
        return false_alarm_share(
            self.seen, self._order, self._noise, self.strength, draws, random_state
        )

    @cached_property
    def _noise(self) -> Noise:
        return Noise(self.seen, self._order, len(self._standing), self._refit.T)

    def _check_changes(self) -> None:
        if isinstance(self.penalty, Spectral):
            raise ValueError("a spectrum has no changepoints")
        if not isinstance(self.loss, SquaredError):
            raise ValueError(f"changepoints are known for squared errors, not for {self.loss!r}")
        if crowded(self.seen, self.changes):
            raise ValueError(
                "changepoints need more than twice as many values as changes, got "
                f"{len(self.observed)} values and {len(self.changes)} changes"
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
