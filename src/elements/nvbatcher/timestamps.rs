//! The rule for timestamps: what is odd is counted, and only a frame outside of its segment is dropped.
//!
//! * No PTS: taken, as every deadline counts from the arrival.
//! * The running time of the frame before, again, or an earlier one: taken. Frames keep the order they came in.
//! * A jump of any size: taken.
//! * Wholly outside of its segment: dropped, as a sink would; it has no running time.

use crate::elements::video;

/// Frames with odd timestamps, since the pad was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Oddities {
    pub(super) without_pts: u64,
    pub(super) duplicate: u64,
    pub(super) backward: u64,
    pub(super) out_of_segment: u64,
}

/// Judges the timestamps of one pad's frames, in their order.
#[derive(Debug, Default)]
pub(super) struct Timestamps {
    pub(super) oddities: Oddities,
    pub(super) last: Option<gst::ClockTime>,
}

impl Timestamps {
    /// Notes a frame. False if it lies outside of `segment`.
    pub(super) fn admit(
        &mut self,
        segment: &gst::FormattedSegment<gst::ClockTime>,
        buffer: &gst::BufferRef,
    ) -> bool {
        let Some(pts) = buffer.pts() else {
            self.oddities.without_pts += 1;
            return true;
        };
        // An end beyond the last nanosecond is no end: `clip` takes none.
        let end = pts.checked_add(buffer.duration().unwrap_or(gst::ClockTime::ZERO));
        if segment.clip(pts, end).is_none() {
            self.oddities.out_of_segment += 1;
            return false;
        }
        let Some(time) = video::running_time(segment, Some(pts)) else { return true };
        match self.last.replace(time).map(|last| time.cmp(&last)) {
            Some(std::cmp::Ordering::Less) => self.oddities.backward += 1,
            Some(std::cmp::Ordering::Equal) => self.oddities.duplicate += 1,
            _ => {}
        }
        true
    }

    /// A new stream or a flush: running time begins anew, which is not odd.
    pub(super) fn restart(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(pts: Option<u64>, duration: Option<u64>) -> gst::Buffer {
        gst::init().unwrap();
        let mut buffer = gst::Buffer::new();
        let writable = buffer.get_mut().unwrap();
        writable.set_pts(pts.map(gst::ClockTime::from_seconds));
        writable.set_duration(duration.map(gst::ClockTime::from_seconds));
        buffer
    }

    fn segment(start: u64, stop: u64) -> gst::FormattedSegment<gst::ClockTime> {
        gst::init().unwrap();
        let mut segment = gst::FormattedSegment::new();
        segment.set_start(gst::ClockTime::from_seconds(start));
        segment.set_stop(gst::ClockTime::from_seconds(stop));
        segment
    }

    #[test]
    fn odd_timestamps_are_taken_and_counted() {
        let (segment, mut timestamps) = (segment(10, 20), Timestamps::default());
        for pts in [Some(11), Some(11), None, Some(10), Some(19)] {
            assert!(timestamps.admit(&segment, &frame(pts, None)));
        }
        let expected = Oddities { without_pts: 1, duplicate: 1, backward: 1, out_of_segment: 0 };
        assert_eq!(timestamps.oddities, expected);
    }

    #[test]
    fn a_frame_wholly_outside_of_its_segment_is_refused() {
        let (segment, mut timestamps) = (segment(10, 20), Timestamps::default());
        assert!(!timestamps.admit(&segment, &frame(Some(8), Some(1))));
        assert!(timestamps.admit(&segment, &frame(Some(8), Some(3))), "its end is inside");
        assert!(!timestamps.admit(&segment, &frame(Some(21), None)));
        assert_eq!(timestamps.oddities.out_of_segment, 2);
    }

    #[test]
    fn the_end_of_time_is_no_panic() {
        let (segment, mut timestamps) = (segment(10, 20), Timestamps::default());
        let mut buffer = frame(None, None);
        buffer.get_mut().unwrap().set_pts(gst::ClockTime::from_nseconds(u64::MAX - 1));
        buffer.get_mut().unwrap().set_duration(gst::ClockTime::from_nseconds(u64::MAX - 1));
        assert!(!timestamps.admit(&segment, &buffer));
    }
}
