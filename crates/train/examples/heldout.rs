//! Builds held-out pictures as files, for comparing whole programs: `ID_C.png` plate, `ID_B.png` true background, `ID_M.png`
//! mask, `ID_L.png` true layer.
//!
//!     cargo run --release -p peel-train --example heldout -- local/eval20 [POOL] [COMPOSITES] [RENDERINGS]
//!
//! By default 12 composites of 384 pixels from held-out sources and 8 held-out renderings of 256 pixels.

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
            .ok_or("usage: heldout OUT [POOL] [COMPOSITES] [RENDERINGS]")?,
    );
    let pool = Path::new(arguments.get(1).map_or("local/pool", String::as_str));
    let number = |i: usize, default: usize| arguments.get(i).map_or(Ok(default), |a| a.parse());
    let (composites, renderings) = (number(2, 12)?, number(3, 8)?);

    let pool = Pool::load(pool, Split::HeldOut)?;
    std::fs::create_dir_all(out)?;
    let mut count = 0;
    for (set, size, most) in [
        ("synthetic", COMPOSITE_SIZE, composites),
        ("rendered", RENDERED_SIZE, renderings),
    ] {
        let wanted = if set == "synthetic" { composites } else { 0 };
        let sets = cases::held_out(&pool, wanted, size);
        for case in sets
            .iter()
            .filter(|s| s.name == set)
            .flat_map(|s| &s.cases)
            .take(most)
        {
            files::write_sample(out, &case.name, &case.truth)?;
            count += 1;
        }
    }
    eprintln!("{count} cases in {}", out.display());
    Ok(())
}
