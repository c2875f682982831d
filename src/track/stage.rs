//! One round of association: which tracks, which detections, and what a pair of them is worth.

use super::assign::{Assigner, Pair};
use super::one::Track;
use super::{Algorithm, Classes, Observation, Params, State};

/// One round of association.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stage {
    pub(super) tracks: fn(&Track) -> bool,
    /// Least and most confidence of the detections; the most is not among them.
    pub(super) confidence: (f32, f32),
    /// What a pair is worth.
    pub(super) worth: Worth,
    /// Least worth of a pair.
    pub(super) least: f32,
    pub(super) choice: Choice,
}

/// What a pair is worth, 0..1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worth {
    /// Overlap with the last box.
    LastBox,
    /// Overlap with the predicted box.
    PredictedBox,
    /// The same, and appearance where both have it.
    Likeness,
}

/// How pairs are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// The most worth one again and again.
    Greedy,
    /// So that the sum is best.
    Best,
}

/// Higher than any confidence.
const ANY: f32 = f32::INFINITY;

/// What ByteTrack asks for in its second round (its `match_thresh` there is 0.5)...
const LEAST_OF_LOW: f32 = 0.5;
/// ... and of tracks that are not confirmed (0.7).
const LEAST_OF_TENTATIVE: f32 = 0.3;

/// The rounds of an algorithm, in order.
pub(super) fn stages(params: &Params) -> ([Stage; 3], usize) {
    let (low, high) = (params.low_threshold, params.high_threshold);
    let all = Stage {
        tracks: |_| true,
        confidence: (high, ANY),
        worth: Worth::LastBox,
        least: params.iou_threshold,
        choice: Choice::Greedy,
    };
    match params.algorithm {
        Algorithm::Iou => ([all; 3], 1),
        Algorithm::Sort => {
            let stage = Stage { worth: Worth::PredictedBox, choice: Choice::Best, ..all };
            ([stage; 3], 1)
        }
        Algorithm::ByteTrack => {
            let first = Stage {
                tracks: |track| track.state != State::Tentative,
                worth: Worth::Likeness,
                choice: Choice::Best,
                ..all
            };
            // What has been missing for long takes no detection that may be none.
            let second = Stage {
                tracks: |track| track.state != State::Tentative && track.state != State::Lost,
                confidence: (low, high),
                worth: Worth::PredictedBox,
                least: LEAST_OF_LOW,
                ..first
            };
            let third =
                Stage { tracks: |track| track.state == State::Tentative, least: LEAST_OF_TENTATIVE, ..first };
            ([first, second, third], 3)
        }
    }
}

/// What the rounds of a frame share; its memory is kept for the next one.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    pairs: Vec<Pair>,
    assigner: Assigner,
    /// For each track, the detection it has got.
    pub(super) of_tracks: Vec<Option<usize>>,
    /// For each detection, the track it has got.
    pub(super) of_seen: Vec<Option<usize>>,
}

impl Rounds {
    pub(super) fn begin(&mut self, tracks: usize, seen: usize) {
        self.of_tracks.clear();
        self.of_tracks.resize(tracks, None);
        self.of_seen.clear();
        self.of_seen.resize(seen, None);
    }

    /// Pairs what is free still. `usable` are the detections that may be looked at.
    pub(super) fn run(
        &mut self,
        stage: &Stage,
        params: &Params,
        tracks: &[Track],
        seen: &[Observation<'_>],
        usable: &[usize],
    ) {
        let Self { pairs, assigner, of_tracks, of_seen } = self;
        pairs.clear();
        let (least, below) = stage.confidence;
        let free_seen = usable.iter().filter_map(|&column| Some((column, seen.get(column)?)));
        let wanted = |column: usize, one: &Observation<'_>| {
            of_seen[column].is_none() && one.confidence >= least && one.confidence < below
        };
        for (column, one) in free_seen.filter(|(column, one)| wanted(*column, one)) {
            let free_tracks = tracks.iter().enumerate().filter(|(row, _)| of_tracks[*row].is_none());
            for (row, track) in free_tracks.filter(|(_, track)| (stage.tracks)(track)) {
                let worth = worth(stage.worth, params, track, one);
                if worth > 0.0 && worth >= stage.least {
                    pairs.push(Pair { row, column, cost: f64::from(1.0 - worth) });
                }
            }
        }
        // A worth of exactly the least is a pair, too, and a pair costs less than none.
        let limit = f64::from(1.0 - stage.least) + f64::EPSILON;
        let chosen = match stage.choice {
            Choice::Greedy => assigner.greedy(pairs, limit),
            Choice::Best => assigner.best(pairs, limit),
        };
        for &(row, column) in chosen {
            (of_tracks[row], of_seen[column]) = (Some(column), Some(row));
        }
    }
}

fn worth(kind: Worth, params: &Params, track: &Track, seen: &Observation<'_>) -> f32 {
    if params.classes == Classes::Apart && track.class != seen.class {
        return 0.0;
    }
    let overlap = match kind {
        Worth::LastBox => track.last_box().iou(&seen.box_in_frame),
        Worth::PredictedBox | Worth::Likeness => track.predicted_box().iou(&seen.box_in_frame),
    };
    if kind != Worth::Likeness || overlap <= 0.0 {
        return overlap;
    }
    match track.looks_like(seen.embedding) {
        Some(likeness) => overlap + params.appearance_weight * (likeness.max(0.0) - overlap),
        None => overlap,
    }
}
