//! Which kernel taps meet which pixels: one description for every convolution here and for its gradients.
//!
//! A convolution is seen as one or four interleaved ones (phases), each with its own small kernel whose taps are sums of the
//! taps of the 3x3 kernel. Doubling a picture (nearest neighbour) and convolving it with 3x3 taps reads, for each parity of
//! the output, only 2x2 pixels of the small picture: 4 products instead of 9. The gradient at stride 2 has phases of 1, 2, 2
//! and 4 taps; the gradient through a doubling is one 4x4 convolution at stride 2.

/// The taps of one phase along one axis.
#[derive(Debug)]
pub(super) struct Axis {
    /// Pixels to skip, from one before the place of the output.
    pub offset: usize,
    /// For each pixel read, the taps of the 3-tap kernel that fall on it.
    pub taps: &'static [&'static [usize]],
}

/// A convolution as phases: the same along both axes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pattern {
    /// One axis for each phase; output pixels of the phases are interleaved.
    pub axes: &'static [Axis],
    /// Pixels of input between the output pixels of a phase.
    pub stride: usize,
}

const PLAIN: &[Axis] = &[Axis {
    offset: 0,
    taps: &[&[0], &[1], &[2]],
}];
const TURNED: &[Axis] = &[Axis {
    offset: 0,
    taps: &[&[2], &[1], &[0]],
}];
const DOUBLED: &[Axis] = &[
    Axis {
        offset: 0,
        taps: &[&[0], &[1, 2]],
    },
    Axis {
        offset: 1,
        taps: &[&[0, 1], &[2]],
    },
];
const UNDOUBLED: &[Axis] = &[Axis {
    offset: 0,
    taps: &[&[2], &[1, 2], &[0, 1], &[0]],
}];
const UNHALVED: &[Axis] = &[
    Axis {
        offset: 1,
        taps: &[&[1]],
    },
    Axis {
        offset: 1,
        taps: &[&[2], &[0]],
    },
];

impl Pattern {
    pub const SAME: Self = Self {
        axes: PLAIN,
        stride: 1,
    };
    pub const HALF: Self = Self {
        axes: PLAIN,
        stride: 2,
    };
    pub const DOUBLE: Self = Self {
        axes: DOUBLED,
        stride: 1,
    };

    /// The pattern of the input's gradient, with inputs and outputs of the kernel exchanged.
    pub fn gradient(self) -> Self {
        match (self.axes.len(), self.stride) {
            (1, 1) => Self {
                axes: TURNED,
                stride: 1,
            },
            (1, _) => Self {
                axes: UNHALVED,
                stride: 1,
            },
            _ => Self {
                axes: UNDOUBLED,
                stride: 2,
            },
        }
    }

    /// Output pixels of one phase lie this far apart.
    pub fn step(self) -> usize {
        self.axes.len()
    }

    /// Rows of input that one row of output reaches over.
    pub fn reach(self) -> usize {
        self.axes
            .iter()
            .map(|a| a.offset + a.taps.len())
            .max()
            .unwrap_or(0)
    }

    /// The phases, row by row: their place in the output and their axes.
    pub fn phases(self) -> impl Iterator<Item = ((usize, usize), (&'static Axis, &'static Axis))> {
        let axes = self.axes.iter().enumerate();
        axes.clone()
            .flat_map(move |(y, ay)| axes.clone().map(move |(x, ax)| ((y, x), (ay, ax))))
    }
}

/// Part of a 3x3 kernel `[tap][inputs][outputs]`: some of its inputs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kernel<'a> {
    pub weight: &'a [f32],
    pub inputs: usize,
    pub outputs: usize,
    pub first: usize,
    pub count: usize,
}

impl Kernel<'_> {
    /// The kernel of one phase, `[tap][inputs][outputs]`, or with inputs and outputs exchanged.
    pub fn phase(&self, (ay, ax): (&Axis, &Axis), exchanged: bool) -> Vec<f32> {
        let (count, outputs) = (self.count, self.outputs);
        let mut out = vec![0.0; ay.taps.len() * ax.taps.len() * count * outputs];
        for (tap, block) in out.chunks_exact_mut((count * outputs).max(1)).enumerate() {
            let (ys, xs) = (ay.taps[tap / ax.taps.len()], ax.taps[tap % ax.taps.len()]);
            for source in ys.iter().flat_map(|y| xs.iter().map(move |x| 3 * y + x)) {
                let first = (source * self.inputs + self.first) * outputs;
                let values = &self.weight[first..first + count * outputs];
                if exchanged {
                    for (i, row) in values.chunks_exact(outputs).enumerate() {
                        for (to, v) in block.chunks_exact_mut(count).zip(row) {
                            to[i] += v;
                        }
                    }
                } else {
                    for (to, v) in block.iter_mut().zip(values) {
                        *to += v;
                    }
                }
            }
        }
        out
    }
}

/// Adds the gradient of one phase's kernel to that of the 3x3 kernel's inputs `first..first + count`.
pub(super) fn spread_phase(
    phase: &[f32],
    (ay, ax): (&Axis, &Axis),
    (first, count): (usize, usize),
    (inputs, outputs): (usize, usize),
    total: &mut [f32],
) {
    for (tap, block) in phase.chunks_exact((count * outputs).max(1)).enumerate() {
        let (ys, xs) = (ay.taps[tap / ax.taps.len()], ax.taps[tap % ax.taps.len()]);
        for target in ys.iter().flat_map(|y| xs.iter().map(move |x| 3 * y + x)) {
            let from = (target * inputs + first) * outputs;
            for (to, v) in total[from..from + count * outputs].iter_mut().zip(block) {
                *to += v;
            }
        }
    }
}
