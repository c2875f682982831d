//! What was found on a frame, in every form that is asked for.

use super::attributes;
use super::detections::{self, Found, MAX_REGIONS};
use super::relation::{self, ObjectId, Relations};
use crate::vision::{Detection, Size};
use gst_video::VideoRegionOfInterestMeta;
use std::borrow::Cow;

/// In which forms objects are attached, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetaOptions {
    /// As [`detections`]: what all our elements read.
    pub regions: bool,
    /// As [`relation`]: what upstream's elements read. Not done without the library; see [`relation::available`].
    pub relations: bool,
    /// Most objects attached to one frame, the first ones. Of these, the relation meta has at most
    /// [`relation::MAX_ENTRIES`].
    pub max_objects: usize,
}

impl Default for MetaOptions {
    /// Regions, and relations where there is the library.
    fn default() -> Self {
        Self { regions: true, relations: relation::available().is_ok(), max_objects: MAX_REGIONS }
    }
}

/// Attaches `detections`, named by `label`, to a frame of size `frame` and returns how many that was.
///
/// What cannot be attached is left out, as [`detections::attach`] says.
pub fn attach<'a>(
    buffer: &mut gst::BufferRef,
    frame: Size,
    detections: &[Detection],
    label: impl Fn(&Detection) -> Cow<'a, str>,
    options: &MetaOptions,
) -> usize {
    let usable = detections.iter().filter(|detection| detections::is_usable(detection, frame));
    let usable = usable.take(options.max_objects);
    let objects = if options.relations { relate(buffer, frame, usable.clone(), &label) } else { Vec::new() };
    let mut attached = 0;
    for detection in usable {
        if options.regions {
            let found = Found { label: &label(detection), detection };
            let mut region = detections::attach_one(buffer, frame, &found);
            if let Some(object) = objects.get(attached) {
                region.set_id(object.region_id());
            }
        }
        attached += 1;
    }
    attached
}

/// Attaches `detections` that were found in the object at `place`: each region says so. Nothing is attached if there is
/// no such object.
pub fn attach_within<'a>(
    buffer: &mut gst::BufferRef,
    frame: Size,
    place: usize,
    detections: &[Detection],
    label: impl Fn(&Detection) -> Cow<'a, str>,
    options: &MetaOptions,
) -> usize {
    let before = buffer.iter_meta::<VideoRegionOfInterestMeta>().count();
    if place >= before {
        return 0;
    }
    let attached = attach(buffer, frame, detections, label, options);
    attributes::adopt(buffer, place, before);
    attached
}

/// Adds an object for each, up to the first for which there is no room.
fn relate<'a, 'd>(
    buffer: &mut gst::BufferRef,
    frame: Size,
    usable: impl Iterator<Item = &'d Detection> + Clone,
    label: &impl Fn(&Detection) -> Cow<'a, str>,
) -> Vec<ObjectId> {
    let expected = usable.clone().count();
    if expected == 0 {
        return Vec::new();
    }
    // Room for a track or a class of each.
    let Some(mut relations) = Relations::on(buffer, 2 * expected) else { return Vec::new() };
    let add = |detection: &Detection| {
        let rect = detections::pixel_rect(&detection.bbox, frame);
        relations.add_object(&label(detection), rect, detection.confidence)
    };
    usable.map_while(add).collect()
}

#[cfg(test)]
mod tests;
