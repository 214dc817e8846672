//! `peel dataset`: pictures to train on, made of pictures that others have annotated.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use peel_train::Error;
use peel_train::dataset::{Dropped, Nearer, Options, Report, extract};

use crate::exit::{Exit, Result, Stop};
use crate::output::{self, count};
use crate::settings::cancel_on_signal;

/// Make training material
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Extract(Extract),
}

const MORE: &str = "\
Examples:
  peel dataset extract --images val2017/ --annotations instances_val2017.json --depth depth/ -o objects/
  peel dataset extract --images photos/ --annotations photos.json --depth midas/ --nearer large -o objects/
  peel dataset extract --images photos/ --annotations photos.json -o objects/ --area 10000 --most 500

Annotations:
  A JSON file as COCO has its instances: images (id, file_name, width, height, license), annotations (id, image_id,
  category_id, segmentation, iscrowd), categories and licenses. A segmentation is a list of polygons, or runs, packed or
  as numbers. Crowds are passed over.

Depth:
  One map a picture, under the picture's name: 16-bit PNG, TIFF or EXR, of any size. All along an object's border the
  median depth of a thin band outside is held against that of one inside; where the outside is nearer along more than
  the share --occluded, something stands in front of the object, and it is left out. Without --depth nothing is tested,
  and objects with pieces missing come along.

Output:
  PNG files with straight alpha, cropped to the object, and index.json: for each its picture, annotation, category and
  the picture's licence; how many were left out, and why.";

/// Cut whole objects out of photographs with COCO annotations and depth maps
#[derive(clap::Args)]
#[command(after_help = MORE)]
struct Extract {
    /// Folder of the photographs.
    #[arg(long, value_name = "DIR")]
    images: PathBuf,

    /// COCO instances.
    #[arg(long, value_name = "FILE.json")]
    annotations: PathBuf,

    /// Folder of the depth maps.
    #[arg(long, value_name = "DIR")]
    depth: Option<PathBuf>,

    /// Which numbers are nearer in the depth maps: small ones (distances) or large ones (inverse depth, disparity).
    #[arg(long, value_enum, default_value_t = Near::Small, requires = "depth")]
    nearer: Near,

    /// Share of an object's border along which something may be nearer, 0 to 1.
    #[arg(long, value_name = "SHARE", value_parser = share, default_value = "0.08")]
    occluded: f32,

    /// Least area of an object, in pixels of its photograph.
    #[arg(long, value_name = "PIXELS", default_value_t = 4096)]
    area: usize,

    /// Take objects that the photograph's edge cuts off, too.
    #[arg(long)]
    cut_off: bool,

    /// Width of the soft edge, in pixels; 0 for none.
    #[arg(long, value_name = "PIXELS", value_parser = feather, default_value = "2")]
    feather: f32,

    /// Stop after this many objects.
    #[arg(long, value_name = "N")]
    most: Option<usize>,

    /// Folder for the objects; made where it is missing.
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Clone, Copy, ValueEnum, PartialEq, Eq, Debug)]
enum Near {
    /// Distances.
    Small,
    /// Inverse depth, disparity.
    Large,
}

fn share(text: &str) -> std::result::Result<f32, String> {
    let value: f32 = text.parse().map_err(|_| "a number from 0 to 1 is wanted")?;
    (0.0..=1.0)
        .contains(&value)
        .then_some(value)
        .ok_or_else(|| "a number from 0 to 1 is wanted".into())
}

fn feather(text: &str) -> std::result::Result<f32, String> {
    let value: f32 = text.parse().map_err(|_| "a number of pixels is wanted")?;
    (0.0..=64.0)
        .contains(&value)
        .then_some(value)
        .ok_or_else(|| "from 0 to 64 pixels are possible".into())
}

pub fn run(args: Args) -> Result {
    match args.command {
        Command::Extract(args) => run_extract(args),
    }
}

fn run_extract(args: Extract) -> Result {
    let cancel = cancel_on_signal()?;
    let options = Options {
        images: args.images,
        annotations: args.annotations,
        depth: args.depth,
        nearer: match args.nearer {
            Near::Small => Nearer::Small,
            Near::Large => Nearer::Large,
        },
        occluded: args.occluded,
        area: args.area,
        cut_off: args.cut_off,
        feather: args.feather,
        most: args.most,
        out: args.out,
    };
    let bar = if std::io::stderr().is_terminal() {
        ProgressBar::new(0)
    } else {
        ProgressBar::hidden()
    };
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} pictures, {msg}, {eta} left") {
        bar.set_style(style);
    }
    let result = extract(&options, &mut |progress| {
        bar.set_length(progress.of as u64);
        bar.set_position(progress.pictures as u64);
        bar.set_message(count(progress.objects, "object"));
        !cancel.is_cancelled()
    });
    bar.finish_and_clear();
    match result {
        Ok(report) => {
            for fault in &report.faults {
                output::message(format_args!("warning: {fault}"));
            }
            output::line(format_args!("{}: {}", options.out.display(), summary(&report)))?;
            Ok(Exit::Done)
        }
        Err(Error::Cancelled) => Ok(Exit::Cancelled),
        Err(error) => Err(Stop::failed(error)),
    }
}

/// "12 objects; left out: 3 occluded, 40 too small".
fn summary(report: &Report) -> String {
    let words: BTreeMap<Dropped, &str> = [
        (Dropped::Crowd, "crowds"),
        (Dropped::Small, "too small"),
        (Dropped::CutOff, "cut off by the edge"),
        (Dropped::Occluded, "occluded"),
        (Dropped::Faulty, "faulty"),
    ]
    .into();
    let left: Vec<String> = words
        .iter()
        .filter_map(|(why, word)| report.dropped.get(why).map(|n| format!("{n} {word}")))
        .collect();
    let objects = count(report.objects.len(), "object");
    if left.is_empty() {
        objects
    } else {
        format!("{objects}; left out: {}", left.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_says_what_became_of_every_annotation() {
        let mut report = Report::default();
        assert_eq!(summary(&report), "0 objects");
        report.dropped = [(Dropped::Occluded, 3), (Dropped::Small, 40)].into();
        assert_eq!(summary(&report), "0 objects; left out: 40 too small, 3 occluded");
    }

    #[test]
    fn shares_and_widths_are_checked() {
        assert_eq!(share("0.5"), Ok(0.5));
        assert!(share("1.5").is_err() && share("NaN").is_err() && share("x").is_err());
        assert!(feather("-1").is_err() && feather("inf").is_err());
    }
}
