//! Embeddings: `[N, dims]` or `[N, dims, 1, 1]`, one vector for each image, brought to length 1 so that the scalar product
//! of two is their cosine similarity.

use super::tensor::{Batched, only};
use super::{DecodeError, Decoder, DecoderKind, OutputShape, Params, TensorView, Workspace};

/// Longest vector. Those of re-identification and of image search have 128 to 2048 numbers.
pub const MAX_DIMS: usize = 8192;

pub(super) struct Embedding {
    output: String,
    rank: usize,
    dims: Option<usize>,
}

impl Embedding {
    pub(super) fn bind(outputs: &[OutputShape]) -> Result<Self, DecodeError> {
        let fits = |output: &OutputShape| {
            (output.rank() == 2 || output.fits(4, &[(2, 1), (3, 1)]))
                && output.dim(1).is_none_or(|dims| (2..=MAX_DIMS).contains(&dims))
        };
        let output = only(outputs, DecoderKind::Embedding.layout(), fits)?;
        Ok(Self { output: output.name.clone(), rank: output.rank(), dims: output.dim(1) })
    }
}

impl Decoder for Embedding {
    fn kind(&self) -> DecoderKind {
        DecoderKind::Embedding
    }

    fn classes(&self) -> Option<usize> {
        None
    }

    fn decode(
        &self,
        outputs: &[TensorView<'_>],
        batch: usize,
        _: &Params,
        workspace: &mut Workspace,
    ) -> Result<(), DecodeError> {
        workspace.clear();
        let expected = self.kind().layout();
        let tensor = Batched::of(outputs, &self.output, self.rank, expected, batch)?;
        let dims = tensor.dim(1);
        let maps = self.rank == 4 && [tensor.dim(2), tensor.dim(3)] != [1, 1];
        let other = self.dims.is_some_and(|declared| declared != dims);
        if !(2..=MAX_DIMS).contains(&dims) || maps || other {
            return Err(tensor.mismatch(expected));
        }
        workspace.each_image(batch, |image, scratch| {
            let values = tensor.image(image);
            let length = values.iter().map(|value| f64::from(*value) * f64::from(*value)).sum::<f64>().sqrt();
            // Every image takes its place, also one that fails: the next one's follows it.
            if !length.is_finite() || length == 0.0 {
                scratch.vectors.extend(values.iter().map(|_| 0.0));
                return Err(tensor.site(image).non_finite());
            }
            scratch.vectors.extend(values.iter().map(|value| (f64::from(*value) / length) as f32));
            Ok(())
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vision::Size;

    const PARAMS: Params = Params {
        score_threshold: 0.5,
        iou_threshold: 0.5,
        max_detections: 10,
        model: Size::new(8, 8),
        classes: None,
    };

    fn decoded(dims: usize, data: &[f32]) -> Result<Workspace, DecodeError> {
        let declared = OutputShape { name: "out".to_owned(), dims: vec![None, Some(dims)] };
        let decoder = Embedding::bind(&[declared])?;
        let shape = [data.len() / dims, dims];
        let mut workspace = Workspace::default();
        let view = TensorView { name: "out", shape: &shape, data };
        decoder.decode(&[view], shape[0], &PARAMS, &mut workspace).map(|()| workspace)
    }

    #[test]
    fn each_image_has_its_vector_of_length_one_and_no_detections() {
        let workspace = decoded(2, &[3.0, 4.0, 0.0, -2.0]).unwrap();
        assert_eq!(workspace.vector(0), Some(&[0.6, 0.8][..]));
        assert_eq!(workspace.vector(1), Some(&[0.0, -1.0][..]));
        assert_eq!(workspace.vector(2), None);
        assert!(workspace.image(0).unwrap().unwrap().is_empty());
    }

    #[test]
    fn a_vector_without_a_direction_fails_its_image_and_no_other() {
        for bad in [[f32::NAN, 1.0], [f32::INFINITY, 1.0], [0.0, 0.0]] {
            let workspace = decoded(2, &[bad[0], bad[1], 0.0, 5.0]).unwrap();
            assert_eq!((workspace.vector(0), workspace.vector(1)), (None, Some(&[0.0, 1.0][..])));
            assert!(workspace.image(0).unwrap().is_err());
        }
    }

    #[test]
    fn a_shape_that_is_no_row_of_numbers_is_refused() {
        for dims in [vec![None, Some(1)], vec![None, Some(MAX_DIMS + 1)], vec![None, Some(4), Some(4)]] {
            let declared = OutputShape { name: "out".to_owned(), dims };
            assert!(Embedding::bind(&[declared]).is_err());
        }
    }
}
