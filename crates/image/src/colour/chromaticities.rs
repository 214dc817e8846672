//! Primaries and white points, and the matrices between them.

/// A 3x3 matrix, row-major; a colour is a column.
pub type Matrix3 = [[f64; 3]; 3];

/// CIE 1931 xy positions of a colour space's primaries and white, as in EXR's `chromaticities` attribute.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Chromaticities {
    /// (x, y) of red.
    pub red: [f64; 2],
    /// (x, y) of green.
    pub green: [f64; 2],
    /// (x, y) of blue.
    pub blue: [f64; 2],
    /// (x, y) of white: red, green and blue at 1.
    pub white: [f64; 2],
}

/// The Bradford cone matrix (Lam 1985), as in OpenColorIO and the ACES documents.
const BRADFORD: Matrix3 = [
    [0.8951, 0.2664, -0.1614],
    [-0.7502, 1.7135, 0.0367],
    [0.0389, -0.0685, 1.0296],
];

/// EXR stores the positions as `f32`, and writers round: differences below this are none.
const SAME: f64 = 5e-4;

impl Chromaticities {
    /// ITU-R BT.709 and sRGB, D65.
    pub const REC709: Chromaticities = Chromaticities {
        red: [0.64, 0.33],
        green: [0.30, 0.60],
        blue: [0.15, 0.06],
        white: [0.3127, 0.3290],
    };

    /// ACES AP1 (ACEScg, ACEScct), ACES white (near D60).
    pub const AP1: Chromaticities = Chromaticities {
        red: [0.713, 0.293],
        green: [0.165, 0.830],
        blue: [0.128, 0.044],
        white: [0.32168, 0.33767],
    };

    /// ACES AP0 (ACES2065-1), ACES white (near D60).
    pub const AP0: Chromaticities = Chromaticities {
        red: [0.7347, 0.2653],
        green: [0.0, 1.0],
        blue: [0.0001, -0.0770],
        white: [0.32168, 0.33767],
    };

    /// Whether both name the same space, up to the rounding of files.
    pub fn matches(&self, other: &Chromaticities) -> bool {
        self.flat()
            .iter()
            .zip(other.flat())
            .all(|(a, b)| (a - b).abs() <= SAME)
    }

    /// The matrix from linear RGB to CIE XYZ with Y = 1 at white (SMPTE RP 177); `None` where the primaries
    /// are no triangle or not finite.
    pub fn to_xyz(&self) -> Option<Matrix3> {
        let columns = [xyz(self.red), xyz(self.green), xyz(self.blue)];
        let primaries = transpose(columns);
        let scale = apply(&inverse(&primaries)?, xyz(self.white));
        let out = primaries.map(|row| [row[0] * scale[0], row[1] * scale[1], row[2] * scale[2]]);
        out.iter().flatten().all(|v| v.is_finite()).then_some(out)
    }

    /// The matrix from linear light with these primaries to linear light with `target`'s, Bradford-adapted
    /// between the whites. `None` where the two are the same, or where either is no colour space.
    pub fn matrix_to(&self, target: &Chromaticities) -> Option<Matrix3> {
        if self.matches(target) {
            return None;
        }
        let out = product(
            &inverse(&target.to_xyz()?)?,
            &product(&adaptation(xyz(self.white), xyz(target.white))?, &self.to_xyz()?),
        );
        out.iter().flatten().all(|v| v.is_finite()).then_some(out)
    }

    fn flat(&self) -> [f64; 8] {
        let [red, green, blue, white] = [self.red, self.green, self.blue, self.white];
        [
            red[0], red[1], green[0], green[1], blue[0], blue[1], white[0], white[1],
        ]
    }
}

/// XYZ of an xy position at Y = 1. Blue of AP0 has a negative y, which is fine; 0 comes out infinite and is
/// caught by the callers.
fn xyz([x, y]: [f64; 2]) -> [f64; 3] {
    [x / y, 1.0, (1.0 - x - y) / y]
}

fn adaptation(from: [f64; 3], to: [f64; 3]) -> Option<Matrix3> {
    let (from, to) = (apply(&BRADFORD, from), apply(&BRADFORD, to));
    let gains = [0, 1, 2].map(|i| to[i] / from[i]);
    let scaled = [0, 1, 2].map(|i| BRADFORD[i].map(|v| v * gains[i]));
    Some(product(&inverse(&BRADFORD)?, &scaled))
}

fn apply(m: &Matrix3, v: [f64; 3]) -> [f64; 3] {
    m.map(|row| row[0] * v[0] + row[1] * v[1] + row[2] * v[2])
}

fn product(a: &Matrix3, b: &Matrix3) -> Matrix3 {
    let columns = transpose(*b);
    transpose(columns.map(|column| apply(a, column)))
}

fn transpose(m: Matrix3) -> Matrix3 {
    [0, 1, 2].map(|i| [m[0][i], m[1][i], m[2][i]])
}

fn inverse(m: &Matrix3) -> Option<Matrix3> {
    let cofactor = |r: usize, c: usize| {
        let (r1, r2, c1, c2) = ((r + 1) % 3, (r + 2) % 3, (c + 1) % 3, (c + 2) % 3);
        m[r1][c1] * m[r2][c2] - m[r1][c2] * m[r2][c1]
    };
    let det = (0..3).map(|c| m[0][c] * cofactor(0, c)).sum::<f64>();
    let out = [0, 1, 2].map(|r| [0, 1, 2].map(|c| cofactor(c, r) / det));
    (det != 0.0 && out.iter().flatten().all(|v| v.is_finite())).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rec709_to_xyz_is_the_published_matrix() {
        let expected = [
            [0.412_390_8, 0.357_584_3, 0.180_480_8],
            [0.212_639_0, 0.715_168_7, 0.072_192_3],
            [0.019_330_8, 0.119_194_8, 0.950_532_2],
        ];
        let got = Chromaticities::REC709.to_xyz().unwrap();
        for (g, e) in got.iter().flatten().zip(expected.iter().flatten()) {
            assert!((g - e).abs() < 1e-7, "{got:?}");
        }
    }

    #[test]
    fn broken_primaries_are_no_colour_space() {
        let flat = Chromaticities {
            red: [0.3, 0.3],
            green: [0.3, 0.3],
            ..Chromaticities::REC709
        };
        assert_eq!(flat.to_xyz(), None);
        let zero = Chromaticities {
            white: [0.0, 0.0],
            ..Chromaticities::REC709
        };
        assert_eq!(zero.matrix_to(&Chromaticities::AP1), None);
        let nan = Chromaticities {
            red: [f64::NAN, 0.3],
            ..Chromaticities::REC709
        };
        assert_eq!(nan.matrix_to(&Chromaticities::AP1), None);
    }

    #[test]
    fn there_and_back_is_nothing() {
        let there = Chromaticities::REC709.matrix_to(&Chromaticities::AP1).unwrap();
        let back = Chromaticities::AP1.matrix_to(&Chromaticities::REC709).unwrap();
        for (r, row) in product(&there, &back).iter().enumerate() {
            for (c, value) in row.iter().enumerate() {
                assert!((value - f64::from(u8::from(r == c))).abs() < 1e-12);
            }
        }
    }
}
