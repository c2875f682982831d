//! The memory of decoding: what was found in each image of a run, and the lists made on the way, kept from
//! run to run so that a run like an earlier one allocates nothing.
//!
//! A workspace keeps as much as its largest run needed and never gives it back; what an image may need is
//! bounded by the decoders (see [`super`]). It is not bound to a model or a decoder. Errors are written as
//! they come and may allocate.

use std::ops::Range;

use super::DecodeError;
use super::candidates::Candidate;
use crate::vision::Detection;
use crate::vision::nms::Suppression;

/// Where a [`Decoder`](super::Decoder) leaves its results. Reuse it: it keeps its memory between runs.
#[derive(Debug, Default)]
pub struct Workspace {
    /// Of each image, which of `scratch.found` are its detections.
    images: Vec<Result<Range<usize>, DecodeError>>,
    scratch: Scratch,
}

impl Workspace {
    /// How many results the last run gave: one for each image of its batch, none if it failed as a whole.
    #[must_use]
    pub fn images(&self) -> usize {
        self.images.len()
    }

    /// The detections of one image of the last run, best first and in model pixels, or why it has none;
    /// `None` beyond the last image.
    #[must_use]
    pub fn image(&self, at: usize) -> Option<Result<&[Detection], &DecodeError>> {
        let found = |range: &Range<usize>| self.scratch.found.get(range.clone()).unwrap_or_default();
        self.images.get(at).map(|result| result.as_ref().map(found))
    }

    /// The vector of one image of the last run, of length 1; `None` if it failed, the model gives none, or beyond the
    /// last image.
    #[must_use]
    pub fn vector(&self, at: usize) -> Option<&[f32]> {
        self.images.get(at)?.as_ref().ok()?;
        let dims = self.scratch.vectors.len().checked_div(self.images.len())?;
        self.scratch.vectors.chunks_exact(dims.max(1)).nth(at)
    }

    /// Forgets the results of the last run. Every decoder does so before it looks at a tensor.
    pub(crate) fn clear(&mut self) {
        self.images.clear();
        self.scratch.found.clear();
        self.scratch.vectors.clear();
    }

    /// One result for each image of a batch: what `decode` appends to [`Scratch::found`], or its error.
    pub(crate) fn each_image(
        &mut self,
        batch: usize,
        mut decode: impl FnMut(usize, &mut Scratch) -> Result<(), DecodeError>,
    ) {
        self.clear();
        for image in 0..batch {
            let start = self.scratch.found.len();
            self.scratch.candidates.clear();
            let result = decode(image, &mut self.scratch);
            if result.is_err() {
                self.scratch.found.truncate(start);
            }
            self.images.push(result.map(|()| start..self.scratch.found.len()));
        }
    }

    /// The lists for the steps of decoding.
    pub(super) fn scratch(&mut self) -> &mut Scratch {
        &mut self.scratch
    }

    /// How much each list holds without another allocation.
    #[cfg(test)]
    pub(super) fn capacities(&self) -> Vec<usize> {
        let Scratch { found, vectors, candidates, placed, marks, rows, suppression } = &self.scratch;
        let lists = [found.capacity(), candidates.capacity(), placed.capacity(), marks.capacity()];
        let rest = [self.images.capacity(), rows.capacity(), vectors.capacity()];
        lists.into_iter().chain(rest).chain(suppression.capacities()).collect()
    }
}

/// The lists for the steps of decoding one image.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// The detections of the images decoded so far; an image appends its own.
    pub(super) found: Vec<Detection>,
    /// The vectors of those images, all of the same length, one after the other.
    pub(super) vectors: Vec<f32>,
    /// The candidates of this image; empty when its decoding begins.
    pub(super) candidates: Vec<Candidate>,
    /// The candidates of this image with their boxes.
    pub(super) placed: Vec<Detection>,
    /// One entry for each anchor: not zero if one of its scores may pass.
    pub(super) marks: Vec<u32>,
    /// Image and row of each row that counts, where a tensor holds those of all images.
    pub(super) rows: Vec<(usize, usize)>,
    /// What suppression remembers.
    pub(super) suppression: Suppression,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vision::{Landmarks, Rect};

    fn found(class: u32) -> Detection {
        let bbox = Rect::from_corners(0.0, 0.0, 1.0, 1.0);
        Detection { bbox, class, confidence: 0.5, landmarks: Landmarks::new() }
    }

    fn failed(image: usize) -> DecodeError {
        DecodeError::NonFinite { output: "o".to_owned(), image }
    }

    #[test]
    fn an_image_that_fails_leaves_its_neighbours_their_detections() {
        let mut workspace = Workspace::default();
        workspace.each_image(3, |image, scratch| {
            scratch.found.push(found(image as u32));
            if image == 1 { Err(failed(image)) } else { Ok(()) }
        });
        assert_eq!(workspace.images(), 3);
        assert_eq!(workspace.image(0), Some(Ok(&[found(0)][..])));
        assert_eq!(workspace.image(1), Some(Err(&failed(1))));
        assert_eq!(workspace.image(2), Some(Ok(&[found(2)][..])));
        assert_eq!(workspace.image(3), None);
    }

    #[test]
    fn a_run_begins_without_the_results_of_the_one_before() {
        let mut workspace = Workspace::default();
        workspace.each_image(2, |_, scratch| {
            scratch.found.push(found(7));
            Ok(())
        });
        workspace.each_image(1, |_, scratch| {
            assert!(scratch.found.is_empty());
            Ok(())
        });
        assert_eq!((workspace.images(), workspace.image(0)), (1, Some(Ok(&[][..]))));
        workspace.clear();
        assert_eq!((workspace.images(), workspace.image(0)), (0, None));
    }

    #[test]
    fn a_workspace_may_go_to_another_thread() {
        fn sent<T: Send>(_: &T) {}
        sent(&Workspace::default());
    }
}
