//! Reading pictures: layers, single channels, headers.

use std::path::Path;
use std::sync::Arc;

use peel_image::colour::{Chromaticities, Conversion};
use peel_image::{ColourSpace, Layer, Matte, NamedLayer, Rect};

use crate::info::{Format, Info, SampleType};
use crate::layers::{self, LayerPlace, Role};
use crate::openexr::decode::{self, Samples, Wanted};
use crate::openexr::header;
use crate::rows::{self, Rows};
use crate::{Attribute, Budget, Error, Result, raster};

/// Which layers to read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Selection {
    /// The base layer (`R G B A` without prefix), or the first one where there is none.
    #[default]
    First,
    /// The layer of this name; `""` is the base layer.
    Layer(String),
    /// All layers, and as planes all channels that belong to none.
    All,
}

/// How a picture is read.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ReadOptions {
    /// Which layers.
    pub selection: Selection,
    /// The space that the pixels come out in. Must be linear to composite in.
    pub working: ColourSpace,
    /// The space that the file's numbers are in. By default: what an EXR's `chromaticities` say, else linear
    /// Rec.709 for EXR and float TIFF; sRGB for everything else.
    pub source: Option<ColourSpace>,
}

/// What a file holds.
#[derive(Clone, PartialEq, Debug)]
pub struct Picture {
    /// The frame that the picture is seen through.
    pub display: Rect,
    /// Width of a pixel over its height.
    pub pixel_aspect: f32,
    /// The layers asked for, in the file's order; premultiplied, in the working space. Colours that a layer
    /// lacks are 0, an alpha that it lacks is 1: it is opaque.
    pub layers: Vec<NamedLayer>,
    /// Channels that are no layer's, by their full name, as stored (depth, ids); only with [`Selection::All`].
    pub planes: Vec<(String, Matte)>,
    /// What else the header says; of several parts the first one's, then what only later ones have.
    pub attributes: Vec<Attribute>,
}

/// What a file holds, from its header alone. Deep or subsampled files are described too, though they cannot be
/// read.
pub fn probe(path: &Path) -> Result<Info> {
    let format = sniff(path)?;
    if format != Format::Exr {
        return raster::probe(path, format);
    }
    let (bytes, mut input) = header::open(path)?;
    let header = header::read(path, bytes, &mut input)?;
    Ok(Info {
        path: path.to_owned(),
        format,
        bytes,
        display: header.display,
        pixel_aspect: header.pixel_aspect,
        parts: header.parts,
    })
}

/// Reads a picture. Nothing is allocated that `budget` does not allow or the file cannot fill.
pub fn read(path: &Path, options: &ReadOptions, budget: &Budget) -> Result<Picture> {
    match sniff(path)? {
        Format::Exr => read_exr(path, options, budget),
        format => raster::read(path, format, options, budget),
    }
}

/// Reads one channel as a matte, its numbers as they are stored (8 and 16 bits as 0 to 1, no curve applied).
///
/// `channel` is a full name such as `A`, `mug.A`, `Y` or `ball.R`, in any of the spellings that the reader knows
/// (`mug.alpha`). Without one: alpha where there is one that is not 1 everywhere, else the only channel or
/// luminance, else red.
pub fn read_channel(path: &Path, channel: Option<&str>, budget: &Budget) -> Result<Matte> {
    match sniff(path)? {
        Format::Exr => read_exr_channel(path, channel, budget),
        format => raster::read_channel(path, format, channel, budget),
    }
}

/// The format by the file's first bytes; its name does not matter.
fn sniff(path: &Path) -> Result<Format> {
    use std::io::Read;
    let (_, input) = header::open(path)?;
    let mut start = Vec::new();
    input
        .take(16)
        .read_to_end(&mut start)
        .map_err(|error| Error::reading(path, error))?;
    let webp = start.starts_with(b"RIFF") && start.get(8..12) == Some(b"WEBP");
    let formats: [(&[u8], Format); 5] = [
        (&header::MAGIC, Format::Exr),
        (b"\x89PNG\r\n\x1a\n", Format::Png),
        (b"\xff\xd8\xff", Format::Jpeg),
        (b"II*\0", Format::Tiff),
        (b"MM\0*", Format::Tiff),
    ];
    let known = formats
        .into_iter()
        .find(|(magic, _)| start.starts_with(magic))
        .map(|(_, format)| format);
    known
        .or(webp.then_some(Format::WebP))
        .ok_or_else(|| Error::NotAPicture {
            path: path.to_owned(),
            reason: if start.is_empty() {
                "it is empty".into()
            } else {
                "its first bytes are of no known format".into()
            },
        })
}

/// An EXR's header, and the file's length.
fn open_exr(path: &Path) -> Result<(u64, header::Header)> {
    let (length, mut input) = header::open(path)?;
    Ok((length, header::read(path, length, &mut input)?))
}

/// The layer that [`read`] would read, open for reading; `None` where that is not possible.
pub(crate) fn open_rows(path: &Path, options: &ReadOptions, budget: &Budget) -> Result<Option<Rows>> {
    if options.selection == Selection::All || sniff(path)? != Format::Exr {
        return Ok(None);
    }
    let (length, header) = open_exr(path)?;
    let chosen = choose(path, layers::group(&header.parts), &options.selection)?;
    match chosen.as_slice() {
        [layer] => checked_rows(path, length, &header, layer, options, budget).map(Some),
        _ => Ok(None),
    }
}

/// [`Rows`] of a layer whose file can hold what it claims, and whose picture fits into the budget.
fn checked_rows(
    path: &Path,
    length: u64,
    header: &header::Header,
    layer: &LayerPlace,
    options: &ReadOptions,
    budget: &Budget,
) -> Result<Rows> {
    let wanted: Vec<Wanted> = layer
        .channels
        .iter()
        .map(|&(channel, _)| (layer.part, channel))
        .collect();
    decode::check(path, length, header, &wanted)?;
    let data = header.parts[layer.part].data;
    let pixels = data.area() * size_of::<peel_image::Pixel>() as u64;
    let needed = pixels.saturating_add(decode::working_bytes(header, &wanted));
    budget.check(path, || format!("a picture of {data} pixels"), needed)?;
    let conversion = exr_conversion(&header.parts[layer.part].attributes, options);
    Rows::of(path, header, layer, conversion)
}

fn read_exr(path: &Path, options: &ReadOptions, budget: &Budget) -> Result<Picture> {
    let (length, header) = open_exr(path)?;
    let chosen = choose(path, layers::group(&header.parts), &options.selection)?;
    if let ([layer], false) = (chosen.as_slice(), options.selection == Selection::All) {
        let rows = checked_rows(path, length, &header, layer, options, budget)?;
        return Ok(Picture {
            display: header.display,
            pixel_aspect: header.pixel_aspect,
            layers: vec![NamedLayer {
                name: layer.name.clone(),
                layer: Arc::new(rows.read_all()?),
            }],
            planes: Vec::new(),
            attributes: merged_attributes(&header),
        });
    }
    // Every channel that is decoded, and where it goes.
    let mut wanted: Vec<Wanted> = Vec::new();
    let mut places: Vec<Place> = Vec::new();
    for (index, layer) in chosen.iter().enumerate() {
        for &(channel, role) in &layer.channels {
            wanted.push((layer.part, channel));
            places.push(Place::Layer(index, role));
        }
    }
    let mut planes = Vec::new();
    if options.selection == Selection::All {
        for (part, described) in header.parts.iter().enumerate() {
            for (channel, description) in described.channels.iter().enumerate() {
                if !wanted.contains(&(part, channel)) {
                    wanted.push((part, channel));
                    places.push(Place::Plane(planes.len()));
                    planes.push((part, description.name.clone()));
                }
            }
        }
    }
    decode::check(path, length, &header, &wanted)?;
    let area = |part: usize| header.parts[part].data.area();
    let pixels = chosen
        .iter()
        .map(|layer| area(layer.part) * size_of::<peel_image::Pixel>() as u64)
        .sum::<u64>()
        + planes
            .iter()
            .map(|&(part, _)| area(part) * size_of::<f32>() as u64)
            .sum::<u64>();
    let largest = wanted
        .iter()
        .map(|&(part, _)| header.parts[part].data)
        .max_by_key(Rect::area);
    let needed = pixels.saturating_add(decode::working_bytes(&header, &wanted));
    budget.check(
        path,
        || format!("a picture of {} pixels", largest.unwrap_or_default()),
        needed,
    )?;

    let mut layers: Vec<Layer> = chosen.iter().map(|layer| blank(&header, layer)).collect();
    let mut mattes: Vec<Matte> = planes
        .iter()
        .map(|&(part, _)| Matte::new(header.display, header.parts[part].data))
        .collect();
    decode::decode(path, &header, &wanted, |samples| match places[samples.wanted] {
        Place::Layer(layer, role) => fill(&mut layers[layer], role, &samples),
        Place::Plane(plane) => fill_plane(&mut mattes[plane], &samples),
    })?;

    for (layer, place) in layers.iter_mut().zip(&chosen) {
        let conversion = exr_conversion(&header.parts[place.part].attributes, options);
        conversion.apply_row(layer.pixels_mut());
    }
    let named = chosen.into_iter().zip(layers);
    Ok(Picture {
        display: header.display,
        pixel_aspect: header.pixel_aspect,
        layers: named
            .map(|(place, layer)| NamedLayer {
                name: place.name,
                layer: Arc::new(layer),
            })
            .collect(),
        planes: planes.into_iter().map(|(_, name)| name).zip(mattes).collect(),
        attributes: merged_attributes(&header),
    })
}

/// Where a decoded channel goes.
#[derive(Clone, Copy)]
enum Place {
    Layer(usize, Role),
    Plane(usize),
}

fn choose(path: &Path, all: Vec<LayerPlace>, selection: &Selection) -> Result<Vec<LayerPlace>> {
    let have = || all.iter().map(|layer| layer.name.clone()).collect::<Vec<_>>();
    let missing = |layer: &str| Error::NoLayer {
        path: path.to_owned(),
        layer: layer.into(),
        have: have(),
    };
    match selection {
        Selection::All => Ok(all),
        Selection::First => {
            let base = all.iter().find(|layer| layer.name.is_empty()).or(all.first());
            base.map(|layer| vec![layer.clone()]).ok_or_else(|| missing(""))
        }
        Selection::Layer(name) => all
            .iter()
            .find(|layer| layer.name == *name)
            .map(|l| vec![l.clone()])
            .ok_or_else(|| missing(name)),
    }
}

/// The layer before its channels come in: black, and opaque where no alpha will come.
fn blank(header: &header::Header, place: &LayerPlace) -> Layer {
    let opaque = !place.channels.iter().any(|&(_, role)| role == Role::Alpha);
    let mut layer =
        Layer::new(header.display, header.parts[place.part].data).with_pixel_aspect(header.pixel_aspect);
    if opaque {
        layer.pixels_mut().fill([0.0, 0.0, 0.0, 1.0]);
    }
    layer
}

fn fill(layer: &mut Layer, role: Role, samples: &Samples) {
    let y = layer.data().y0 + samples.y as i32;
    for (pixel, &value) in layer.row_mut(y).iter_mut().skip(samples.x).zip(samples.values) {
        for &component in role.components() {
            pixel[component] = value;
        }
    }
}

fn fill_plane(matte: &mut Matte, samples: &Samples) {
    let y = matte.data().y0 + samples.y as i32;
    for (to, &value) in matte.row_mut(y).iter_mut().skip(samples.x).zip(samples.values) {
        *to = value;
    }
}

fn exr_conversion(attributes: &[Attribute], options: &ReadOptions) -> Conversion {
    if let Some(source) = options.source {
        return source.to(options.working);
    }
    let named = attributes
        .iter()
        .find_map(Attribute::as_chromaticities)
        .unwrap_or(Chromaticities::REC709);
    // A known space is taken at its exact primaries, not at the file's rounded ones.
    let known = ColourSpace::ALL
        .into_iter()
        .map(ColourSpace::chromaticities)
        .find(|known| known.matches(&named));
    options.working.from_linear(&known.unwrap_or(named))
}

fn merged_attributes(header: &header::Header) -> Vec<Attribute> {
    let mut out: Vec<Attribute> = Vec::new();
    for attribute in header.parts.iter().flat_map(|part| &part.attributes) {
        if !out.iter().any(|other| other.name == attribute.name) {
            out.push(attribute.clone());
        }
    }
    out
}

fn read_exr_channel(path: &Path, channel: Option<&str>, budget: &Budget) -> Result<Matte> {
    let (length, header) = open_exr(path)?;
    let Some(name) = channel else {
        return read_exr_default(path, length, &header, budget);
    };
    let wanted = find_channel(&header, name).ok_or_else(|| Error::NoChannel {
        path: path.to_owned(),
        channel: name.to_owned(),
        have: header
            .parts
            .iter()
            .flat_map(|part| &part.channels)
            .map(|c| c.name.clone())
            .collect(),
    })?;
    exr_plane(path, length, &header, wanted, budget)
}

/// The channel that serves as a matte where none is named.
fn read_exr_default(path: &Path, length: u64, header: &header::Header, budget: &Budget) -> Result<Matte> {
    let layers = layers::group(&header.parts);
    let base = layers
        .iter()
        .find(|layer| layer.name.is_empty())
        .or(layers.first());
    let with = |role: Role| {
        let layer = base?;
        let (channel, _) = layer.channels.iter().find(|&&(_, has)| has == role)?;
        Some((layer.part, *channel))
    };
    let light = with(Role::Grey).or(with(Role::Red));
    if let Some(alpha) = with(Role::Alpha) {
        let matte = exr_plane(path, length, header, alpha, budget)?;
        // An opaque picture of a matte: the alpha says nothing, the picture everything.
        if light.is_none() || matte.values().iter().any(|&value| value != 1.0) {
            return Ok(matte);
        }
    }
    let wanted = light.unwrap_or((0, 0));
    exr_plane(path, length, header, wanted, budget)
}

fn exr_plane(
    path: &Path,
    length: u64,
    header: &header::Header,
    wanted: Wanted,
    budget: &Budget,
) -> Result<Matte> {
    let part = &header.parts[wanted.0];
    decode::check(path, length, header, &[wanted])?;
    let needed =
        (part.data.area() * size_of::<f32>() as u64).saturating_add(decode::working_bytes(header, &[wanted]));
    budget.check(path, || format!("a matte of {} pixels", part.data), needed)?;
    rows::read_plane(path, header, wanted)
}

/// A channel by its full name; else by its layer and what it is there, so that `mug.A` finds `mug.alpha`.
fn find_channel(header: &header::Header, name: &str) -> Option<Wanted> {
    let all = || {
        let parts = header.parts.iter().enumerate();
        parts.flat_map(|(p, part)| {
            part.channels
                .iter()
                .enumerate()
                .map(move |(c, channel)| ((p, c), channel))
        })
    };
    let exact = all()
        .find(|(_, channel)| channel.name == name)
        .map(|(place, _)| place);
    let by_role = || {
        let (layer, suffix) = layers::split(name);
        let role = Role::of(suffix)?;
        let layer = layers::group(&header.parts)
            .into_iter()
            .find(|found| found.name == layer)?;
        layer
            .channels
            .iter()
            .find(|&&(_, has)| has == role)
            .map(|&(channel, _)| (layer.part, channel))
    };
    let any_case = || {
        all()
            .find(|(_, c)| c.name.eq_ignore_ascii_case(name))
            .map(|(place, _)| place)
    };
    exact.or_else(by_role).or_else(any_case)
}

impl Picture {
    /// The layer of this name.
    pub fn layer(&self, name: &str) -> Option<&Arc<Layer>> {
        self.layers
            .iter()
            .find(|named| named.name == name)
            .map(|named| &named.layer)
    }

    /// The first layer: with [`Selection::First`] the one.
    pub fn into_first(self) -> Option<Arc<Layer>> {
        self.layers.into_iter().next().map(|named| named.layer)
    }

    /// The attribute of this name.
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    /// A picture of one layer, as the other formats have it.
    pub(crate) fn single(layer: Layer) -> Picture {
        Picture {
            display: layer.display(),
            pixel_aspect: layer.pixel_aspect(),
            layers: vec![NamedLayer {
                name: String::new(),
                layer: Arc::new(layer),
            }],
            planes: Vec::new(),
            attributes: Vec::new(),
        }
    }
}

impl SampleType {
    /// Whether numbers are light as they are: the default for colour, before a file says otherwise.
    pub(crate) fn is_float(self) -> bool {
        matches!(self, SampleType::Half | SampleType::Float)
    }
}
