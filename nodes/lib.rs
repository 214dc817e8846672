//! Peel's built-in nodes, one folder each: `mod.rs` is manual, parameters and implementation, `example.ron`
//! shows it at work and `example.exr` is what comes out. They use nothing that a third-party node could not.

mod alpha_over;
mod constant;
mod decompose;
mod files;
mod frame_hold;
mod group;
mod mask;
mod read;
mod recolor;
mod time_offset;
mod transform;
mod write;

use peel_node::{NodeKind, Registry, kind, module_doc};

/// All built-in nodes, in the order of the catalogue: from reading to writing.
pub fn registry() -> Registry {
    Registry::new(vec![
        kind!(read::Read, "Read", 1, "read"),
        kind!(constant::Constant, "Constant", 1, "constant"),
        kind!(mask::Mask, "Mask", 1, "mask"),
        kind!(decompose::Decompose, "Decompose", 1, "decompose"),
        kind!(transform::Transform, "Transform", 1, "transform"),
        kind!(recolor::Recolor, "Recolor", 1, "recolor"),
        kind!(alpha_over::AlphaOver, "AlphaOver", 1, "alpha_over"),
        kind!(time_offset::TimeOffset, "TimeOffset", 1, "time_offset"),
        kind!(frame_hold::FrameHold, "FrameHold", 1, "frame_hold"),
        NodeKind::group::<group::Group>(
            "Group",
            1,
            module_doc(include_str!("group/mod.rs")),
            include_str!("group/example.ron"),
        ),
        kind!(write::Write, "Write", 1, "write"),
    ])
}
