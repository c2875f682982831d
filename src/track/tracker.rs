//! One feed's tracks: prediction, association, births, ends.

use super::one::Track;
use super::stage::{Rounds, stages};
use super::{Counts, MOST_OBSERVATIONS, Mark, Observation, Params, Predicted, State, Step};
use crate::vision::Rect;

/// Two tracks of one thing overlap by more than this (ByteTrack's `remove_duplicate_stracks`).
const SAME_THING: f32 = 0.85;

/// Farthest side of a box that is looked at, in pixels: no frame is that large, and sums of such are exact enough.
const FARTHEST: f32 = 1e6;

/// The tracks of one feed.
#[derive(Debug, Default)]
pub struct Tracker {
    params: Params,
    tracks: Vec<Track>,
    counts: Counts,
    rounds: Rounds,
    /// The detections that may be looked at, the most confident one first.
    usable: Vec<usize>,
    marks: Vec<Option<Mark>>,
}

impl Tracker {
    /// A tracker without tracks.
    #[must_use]
    pub fn new(params: Params) -> Self {
        Self { params: params.within_ranges(), ..Self::default() }
    }

    /// What it goes by.
    #[must_use]
    pub const fn params(&self) -> &Params {
        &self.params
    }

    /// Goes by something else from the next frame on; the tracks stay.
    pub fn set_params(&mut self, params: Params) {
        self.params = params.within_ranges();
    }

    /// A frame on which somebody looked. What is said about each detection, in their order: `None` for one that is in
    /// no track.
    ///
    /// Detections whose box is empty, or has a side that is not finite or beyond a million pixels, are in no track;
    /// neither are those whose confidence is no number, and, of more than [`MOST_OBSERVATIONS`], the least sure.
    /// `next_id` is asked for the identity of each new track, and must not repeat itself.
    pub fn update(
        &mut self,
        step: Step,
        seen: &[Observation<'_>],
        next_id: &mut dyn FnMut() -> i64,
    ) -> &[Option<Mark>] {
        self.advance(step);
        self.choose_usable(seen);
        self.associate(seen);
        self.see_and_miss(seen);
        self.end_duplicates();
        self.marks.clear();
        self.marks.resize(seen.len(), None);
        self.bear(seen, next_id);
        for (mark, track) in self.marks.iter_mut().zip(&self.rounds.of_seen) {
            *mark = track.and_then(|track| self.tracks.get(track)).map(Track::mark);
        }
        self.end_where(|track, _| track.id == GONE);
        &self.marks
    }

    /// A frame on which nobody looked: it was left out, or the model failed. Then [`Self::coasting`] says what should
    /// stand on it.
    pub fn predict(&mut self, step: Step) {
        self.advance(step);
        self.tracks.iter_mut().for_each(Track::coast);
    }

    /// After [`Self::predict`] or [`Self::update`]: the tracks that are not on this frame but were on one of the last that
    /// were looked at (see [`Params::coast_frames`]), and where they should be.
    pub fn coasting(&self) -> impl Iterator<Item = Predicted> {
        let coasting = |track: &&Track| {
            track.state == State::Coasted && track.is_followed(&self.params) && !track.is_seen()
        };
        self.tracks.iter().filter(coasting).map(Track::predicted)
    }

    /// Ends all tracks: what comes next has nothing to do with what was.
    pub fn reset(&mut self) {
        self.end_where(|_, _| true);
    }

    /// What has become of tracks and detections.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// How many tracks there are.
    #[must_use]
    pub const fn alive(&self) -> usize {
        self.tracks.len()
    }

    /// How many tracks there are in that state.
    #[must_use]
    pub fn count(&self, state: State) -> usize {
        self.tracks.iter().filter(|track| track.state == state).count()
    }

    fn advance(&mut self, step: Step) {
        self.counts.frames += 1;
        let step = Step { frames: step.frames.max(1), ..step };
        self.tracks.iter_mut().for_each(|track| track.advance(step));
        self.end_where(Track::is_over);
    }

    fn choose_usable(&mut self, seen: &[Observation<'_>]) {
        self.usable.clear();
        self.usable.extend((0..seen.len()).filter(|index| is_usable(&seen[*index])));
        self.usable.sort_by(|one, other| seen[*other].confidence.total_cmp(&seen[*one].confidence));
        self.usable.truncate(MOST_OBSERVATIONS);
    }

    fn associate(&mut self, seen: &[Observation<'_>]) {
        self.rounds.begin(self.tracks.len(), seen.len());
        let (stages, count) = stages(&self.params);
        for stage in &stages[..count] {
            self.rounds.run(stage, &self.params, &self.tracks, seen, &self.usable);
        }
    }

    fn see_and_miss(&mut self, seen: &[Observation<'_>]) {
        for (track, got) in self.tracks.iter_mut().zip(&self.rounds.of_tracks) {
            match got {
                Some(column) => track.see(&seen[*column], &self.params),
                None if track.miss(&self.params) => {}
                None => track.id = GONE,
            }
        }
    }

    /// Of two tracks of one thing, the one that is not seen is over.
    fn end_duplicates(&mut self) {
        for index in 0..self.tracks.len() {
            let track = &self.tracks[index];
            if track.is_seen() || track.id == GONE {
                continue;
            }
            let same = |other: &Track| {
                other.state == State::Confirmed
                    && other.is_seen()
                    && other.class == track.class
                    && other.last_box().iou(track.predicted_box()) > SAME_THING
            };
            if self.tracks.iter().any(same) {
                self.tracks[index].id = GONE;
            }
        }
    }

    /// New tracks of detections that no track has got, the most confident first.
    fn bear(&mut self, seen: &[Observation<'_>], next_id: &mut dyn FnMut() -> i64) {
        for index in 0..self.usable.len() {
            let column = self.usable[index];
            let free = self.rounds.of_seen[column].is_none();
            if !free || seen[column].confidence < self.params.high_threshold {
                continue;
            }
            if !self.make_room() {
                self.counts.rejected += 1;
                continue;
            }
            self.tracks.push(Track::new(next_id(), &seen[column], &self.params));
            self.rounds.of_seen[column] = Some(self.tracks.len() - 1);
            self.counts.born += 1;
        }
    }
}

/// Room, and ends.
impl Tracker {
    /// Whether there is room for another track, made if need be by ending the oldest one that is lost, else coasted,
    /// else tentative. A confirmed one, and one that this frame began, stays.
    fn make_room(&mut self) -> bool {
        let alive = self.tracks.iter().filter(|track| track.id != GONE).count();
        if alive < self.params.max_tracks as usize {
            return true;
        }
        let rank = |state| match state {
            State::Lost => Some(0),
            State::Coasted => Some(1),
            State::Tentative => Some(2),
            State::Confirmed => None,
        };
        let candidates =
            self.tracks.iter().enumerate().filter(|(_, track)| track.id != GONE && track.age() > 0);
        let ranked = candidates.filter_map(|(index, track)| Some((rank(track.state)?, track.age(), index)));
        let oldest = ranked.min_by_key(|&(rank, age, index)| (rank, std::cmp::Reverse(age), index));
        let Some((.., index)) = oldest else { return false };
        self.tracks[index].id = GONE;
        self.counts.evicted += 1;
        // A tentative one may have got a detection, which is in no track then.
        if let Some(column) = self.rounds.of_tracks.get(index).copied().flatten() {
            self.rounds.of_seen[column] = None;
        }
        true
    }

    fn end_where(&mut self, is_over: impl Fn(&Track, &Params) -> bool) {
        let before = self.tracks.len();
        self.tracks.retain(|track| !is_over(track, &self.params));
        self.counts.ended += (before - self.tracks.len()) as u64;
    }
}

/// In place of the identity of a track that is over and about to be taken out.
const GONE: i64 = i64::MIN;

fn is_usable(seen: &Observation<'_>) -> bool {
    let Rect { x_min, y_min, x_max, y_max } = seen.box_in_frame;
    let near = [x_min, y_min, x_max, y_max].iter().all(|side| side.abs() <= FARTHEST);
    near && seen.box_in_frame.area() > 0.0 && !seen.confidence.is_nan()
}
