//! Convex hulls of masks.

use super::raster::Raster;

/// 1 inside the convex hull of the pixels above one half, 0 elsewhere.
#[must_use]
pub fn convex_hull(mask: &Raster<1>) -> Raster<1> {
    let width = mask.width;
    let mut points: Vec<(i64, i64)> = mask
        .pixels
        .iter()
        .enumerate()
        .filter(|(_, m)| m[0] > 0.5)
        .map(|(i, _)| ((i % width) as i64, (i / width) as i64))
        .collect();
    points.sort_unstable();
    if points.is_empty() {
        return mask.map(|_| [0.0]);
    }
    // Andrew's monotone chain: lower, then upper half, counterclockwise with y down.
    let cross =
        |o: (i64, i64), a: (i64, i64), b: (i64, i64)| (a.0 - o.0) * (b.1 - o.1) - (a.1 - o.1) * (b.0 - o.0);
    let half = |points: &mut dyn Iterator<Item = (i64, i64)>| {
        let mut hull: Vec<(i64, i64)> = Vec::new();
        for point in points {
            while let [.., a, b] = hull[..]
                && cross(a, b, point) <= 0
            {
                hull.pop();
            }
            hull.push(point);
        }
        hull.pop();
        hull
    };
    let mut hull = half(&mut points.iter().copied());
    hull.extend(half(&mut points.iter().rev().copied()));
    if hull.len() < 3 {
        return mask.map(|m| [f32::from(m[0] > 0.5)]);
    }
    Raster::from_fn(width, mask.height, |x, y| {
        let point = (x as i64, y as i64);
        let mut edges = (0..hull.len()).map(|i| (hull[i], hull[(i + 1) % hull.len()]));
        [f32::from(edges.all(|(a, b)| cross(a, b, point) >= 0))]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_l_becomes_a_polygon() {
        let l = Raster::from_fn(12, 12, |x, y| {
            [f32::from(
                (x == 2 && (2..10).contains(&y)) || (y == 9 && (2..10).contains(&x)),
            )]
        });
        let hull = convex_hull(&l);
        for y in 0..12i32 {
            for x in 0..12i32 {
                // Under the diagonal from (2, 2) to (9, 9).
                let inside = (2..10).contains(&x) && (2..10).contains(&y) && y >= x;
                assert_eq!(hull.at(x as usize, y as usize)[0] > 0.5, inside, "{x} {y}");
            }
        }
        assert_eq!(convex_hull(&hull), hull);
        let none = Raster::filled(4, 4, [0.0]);
        assert_eq!(convex_hull(&none), none);
    }
}
