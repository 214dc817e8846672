//! Channel names to layers: `mug.R` is the red of layer `mug`, `R` that of the base layer.

use crate::info::PartInfo;

/// What a channel is to its layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    Red,
    Green,
    Blue,
    Alpha,
    /// Luminance: red, green and blue in one.
    Grey,
}

impl Role {
    /// The role that a channel's last name part plays, in any of its spellings.
    pub(crate) fn of(suffix: &str) -> Option<Role> {
        match suffix.to_ascii_lowercase().as_str() {
            "r" | "red" => Some(Role::Red),
            "g" | "green" => Some(Role::Green),
            "b" | "blue" => Some(Role::Blue),
            "a" | "alpha" => Some(Role::Alpha),
            "y" => Some(Role::Grey),
            _ => None,
        }
    }

    /// The components of a pixel that the channel fills.
    pub(crate) fn components(self) -> &'static [usize] {
        match self {
            Role::Red => &[0],
            Role::Green => &[1],
            Role::Blue => &[2],
            Role::Alpha => &[3],
            Role::Grey => &[0, 1, 2],
        }
    }
}

/// A layer's place in a file.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct LayerPlace {
    /// `""` for the base layer.
    pub name: String,
    /// Index of the part.
    pub part: usize,
    /// Channels by index in the part, with their role.
    pub channels: Vec<(usize, Role)>,
}

/// `mug.shadow.R` to `mug.shadow` and `R`.
pub(crate) fn split(channel: &str) -> (&str, &str) {
    channel.rsplit_once('.').unwrap_or(("", channel))
}

/// The layers of a file, in its order. Names come from the channels; only where two parts have a layer of
/// the same name is the second called after its part (and numbered, where that is no help either).
pub(crate) fn group(parts: &[PartInfo]) -> Vec<LayerPlace> {
    let mut layers: Vec<LayerPlace> = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let mut found: Vec<LayerPlace> = Vec::new();
        for (channel, described) in part.channels.iter().enumerate() {
            let (name, suffix) = split(&described.name);
            let Some(role) = Role::of(suffix) else { continue };
            let layer = match found.iter_mut().find(|layer| layer.name == name) {
                Some(layer) => layer,
                None => {
                    found.push(LayerPlace {
                        name: name.to_owned(),
                        part: index,
                        channels: Vec::new(),
                    });
                    let last = found.len() - 1;
                    &mut found[last]
                }
            };
            // `R` and `red` side by side: the first one counts.
            if !layer.channels.iter().any(|&(_, taken)| taken == role) {
                layer.channels.push((channel, role));
            }
        }
        for mut layer in found {
            let colours = |role: &Role| matches!(role, Role::Red | Role::Green | Role::Blue);
            if layer.channels.iter().any(|(_, role)| colours(role)) {
                // Y beside red, green and blue is something else.
                layer.channels.retain(|&(_, role)| role != Role::Grey);
            }
            layer.name = unused(&layer.name, part.name.as_deref(), &layers);
            layers.push(layer);
        }
    }
    layers
}

fn unused(name: &str, part: Option<&str>, layers: &[LayerPlace]) -> String {
    let taken = |name: &str| layers.iter().any(|layer| layer.name == name);
    if !taken(name) {
        return name.to_owned();
    }
    let base = part.filter(|part| !part.is_empty()).unwrap_or("part");
    if !taken(base) {
        return base.to_owned();
    }
    (2..)
        .map(|n| format!("{base}{n}"))
        .find(|name| !taken(name))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use peel_image::Rect;

    use super::*;
    use crate::info::{Channel, SampleType, Storage};

    fn part(name: &str, channels: &[&str]) -> PartInfo {
        let channel = |name: &&str| Channel {
            name: (*name).into(),
            sample: SampleType::Half,
            sampling: (1, 1),
        };
        PartInfo {
            name: Some(name.into()),
            data: Rect::of_size(1, 1),
            channels: channels.iter().map(channel).collect(),
            compression: "ZIP".into(),
            storage: Storage::ScanLines,
            attributes: Vec::new(),
        }
    }

    fn names(parts: &[PartInfo]) -> Vec<String> {
        group(parts).into_iter().map(|layer| layer.name).collect()
    }

    #[test]
    fn suffix_variants_and_nested_names() {
        let channels = ["A", "B", "G", "R", "mug.alpha", "mug.Red", "a.b.r", "Z", "id.X"];
        let layers = group(&[part("", &channels)]);
        assert_eq!(
            layers.iter().map(|l| l.name.as_str()).collect::<Vec<_>>(),
            ["", "mug", "a.b"]
        );
        assert_eq!(layers[1].channels, [(4, Role::Alpha), (5, Role::Red)]);
    }

    #[test]
    fn parts_name_layers_only_where_channels_do_not() {
        let parts = [
            part("rgba", &["R", "G", "B"]),
            part("x", &["mug.R"]),
            part("shadow", &["R", "G", "B"]),
        ];
        assert_eq!(names(&parts), ["", "mug", "shadow"]);
        assert_eq!(
            names(&[part("p", &["R"]), part("p", &["R"]), part("p", &["R"])]),
            ["", "p", "p2"]
        );
    }

    #[test]
    fn luminance_is_grey_unless_there_is_colour() {
        assert_eq!(
            group(&[part("", &["Y", "A"])])[0].channels,
            [(0, Role::Grey), (1, Role::Alpha)]
        );
        assert_eq!(group(&[part("", &["R", "Y"])])[0].channels, [(0, Role::Red)]);
    }
}
