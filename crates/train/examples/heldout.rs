//! Builds held-out pictures as files, for comparing whole programs: `ID_C.png` plate, `ID_B.png` true background, `ID_M.png`
//! mask, `ID_L.png` true layer.
//!
//!     cargo run --release -p peel-train --example heldout -- local/eval20 [POOL] [COMPOSITES] [RENDERINGS] [SIZE] [TRACED] [detailed]
//!
//! `[detailed]` takes pieces of photographs that are not enlarged; it wants a pool of large ones:
//!
//!     local/sources/venv/bin/python crates/train/scripts/make_pool.py --sources local/sources/x --out local/pool-fine --held-out-detail 3.2 --held-out-only
//!     cargo run --release -p peel-train --example heldout -- local/eval1024 local/pool-fine 24 0 1024 0 detailed
//!
//! By default 12 composites of 384 pixels (SIZE) from held-out sources, 8 held-out renderings of 256 pixels (of SIZE, where one is given)
//! and no traced scenes. At 128 pixels they are the cases that `eval POOL` measures, under the same names.

use std::path::Path;

use peel_train::data::pool::{Pool, Split};
use peel_train::eval::cases;
use peel_train::files;

const COMPOSITE_SIZE: usize = 384;
const RENDERED_SIZE: usize = 256;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let out = Path::new(
        arguments
            .first()
            .ok_or("usage: heldout OUT [POOL] [COMPOSITES] [RENDERINGS] [SIZE] [TRACED] [detailed]")?,
    );
    let pool = Path::new(arguments.get(1).map_or("local/pool", String::as_str));
    let number = |i: usize, default: usize| arguments.get(i).map_or(Ok(default), |a| a.parse());
    let (composites, renderings) = (number(2, 12)?, number(3, 8)?);
    let (size, rendered_size, traced) = (
        number(4, COMPOSITE_SIZE)?,
        number(4, RENDERED_SIZE)?,
        number(5, 0)?,
    );

    let detailed = match arguments.get(6).map(String::as_str) {
        None => false,
        Some("detailed") => true,
        Some(other) => return Err(format!("{other}: the last argument is `detailed` or nothing").into()),
    };

    let mut pool = Pool::load(pool, Split::HeldOut)?;
    pool.detailed = detailed;
    std::fs::create_dir_all(out)?;
    let mut series = cases::held_out_series(&pool, composites, size);
    series.retain(|s| s.name == "synthetic");
    series.extend(cases::held_out_series(&pool, 0, rendered_size));
    series.push(cases::traced_series(&pool, traced, size));
    let mut count = 0;
    for set in &series {
        let most = if set.name == "rendered" {
            renderings
        } else {
            usize::MAX
        };
        for i in 0..set.names.len().min(most) {
            let case = set.case(i)?;
            files::write_sample(out, &case.name, &case.truth)?;
            count += 1;
        }
    }
    eprintln!("{count} cases in {}", out.display());
    Ok(())
}
