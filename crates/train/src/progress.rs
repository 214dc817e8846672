//! What the last steps came to: a line of the metrics.

use serde::Serialize;

use crate::loss::LossParts;

/// Means over the last steps.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Progress {
    /// Updates made.
    pub step: u64,
    /// Pixels on a side.
    pub size: usize,
    /// Samples of a step.
    pub batch: usize,
    /// Loss.
    pub loss: LossParts,
    /// Norm of the gradient before clipping.
    pub norm: f32,
    /// Factor of the learning rate.
    pub rate: f32,
    /// Milliseconds of a step.
    pub ms: f64,
    /// Milliseconds of it spent waiting for data.
    pub wait_ms: f64,
}

/// Sums over the steps of a line of metrics.
#[derive(Debug, Default)]
pub(crate) struct Window {
    count: f32,
    /// Steps whose time was taken: those before a resumption are not among them.
    timed: f64,
    sum: Progress,
}

impl Window {
    pub fn add(&mut self, p: &Progress) {
        self.count += 1.0;
        self.timed += 1.0;
        self.sum = Progress {
            loss: self.sum.loss.plus(&p.loss, 1.0),
            norm: self.sum.norm + p.norm,
            ms: self.sum.ms + p.ms,
            wait_ms: self.sum.wait_ms + p.wait_ms,
            ..*p
        };
    }

    /// All that does not depend on the clock, to the bit; [`Window::recall`] reads it.
    pub fn remember(&self) -> Vec<f32> {
        let LossParts {
            total,
            background,
            foreground,
            consistency,
            other,
        } = self.sum.loss;
        vec![
            self.count,
            self.sum.norm,
            total,
            background,
            foreground,
            consistency,
            other,
        ]
    }

    /// Empty where there is nothing to recall.
    pub fn recall(sums: &[f32]) -> Self {
        let &[count, norm, total, background, foreground, consistency, other] = sums else {
            return Self::default();
        };
        let loss = LossParts {
            total,
            background,
            foreground,
            consistency,
            other,
        };
        Self {
            count,
            timed: 0.0,
            sum: Progress {
                loss,
                norm,
                ..Progress::default()
            },
        }
    }

    pub fn mean(&self) -> Progress {
        let k = 1.0 / self.count.max(1.0);
        Progress {
            loss: LossParts::default().plus(&self.sum.loss, k),
            norm: self.sum.norm * k,
            ms: self.sum.ms / self.timed.max(1.0),
            wait_ms: self.sum.wait_ms / self.timed.max(1.0),
            ..self.sum
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(i: u16) -> Progress {
        let x = f32::from(i);
        Progress {
            step: u64::from(i),
            size: 64,
            batch: 8,
            loss: LossParts {
                total: 0.1 * x,
                other: 1.0 / (x + 0.3),
                ..LossParts::default()
            },
            norm: x.sqrt(),
            rate: 1.0,
            ms: 10.0,
            wait_ms: 1.0,
        }
    }

    #[test]
    fn a_line_that_was_resumed_is_the_same_to_the_bit() {
        let mut whole = Window::default();
        (0..25).for_each(|i| whole.add(&step(i)));
        for cut in [0, 1, 9, 24] {
            let mut first = Window::default();
            (0..cut).for_each(|i| first.add(&step(i)));
            let mut second = Window::recall(&first.remember());
            (cut..25).for_each(|i| second.add(&step(i)));
            let (a, b) = (whole.mean(), second.mean());
            assert_eq!(
                (a.loss, a.norm, a.step, a.size),
                (b.loss, b.norm, b.step, b.size),
                "{cut}"
            );
            // Time is the mean of the steps that were taken since.
            assert_eq!((b.ms, b.wait_ms), (10.0, 1.0));
        }
    }
}
