//! A workspace that is used again: it allocates nothing more, and nothing of an earlier run shows.

use super::super::*;
use super::fixture::{Tensor, Thing, declared, decode, params, results, tensors};

/// Images with that many things each.
fn images(things: &[u8]) -> Vec<Vec<Thing>> {
    let thing = |row: u8| {
        let x = f32::from(row) * 8.0;
        Thing::new(usize::from(row), [x, 0.0, x + 8.0, 8.0], 0, 0.9 - x / 1000.0)
    };
    things.iter().map(|&count| (0..count).map(thing).collect()).collect()
}

fn decode_into(workspace: &mut Workspace, kind: DecoderKind, images: &[Vec<Thing>]) {
    let owned = tensors(kind, images);
    let views: Vec<_> = owned.iter().map(Tensor::view).collect();
    let decoder = check(kind, &declared(kind), &params()).unwrap();
    decoder.decode(&views, images.len(), &params(), workspace).unwrap();
}

#[test]
fn a_run_no_larger_than_the_one_before_allocates_nothing() {
    for kind in DecoderKind::ALL {
        let mut workspace = Workspace::default();
        decode_into(&mut workspace, kind, &images(&[8, 0, 3, 8]));
        let capacities = workspace.capacities();
        assert!(capacities.iter().any(|&capacity| capacity > 0), "{kind}");
        for things in [&[8, 0, 3, 8][..], &[8, 8, 3], &[], &[0, 0, 0, 1]] {
            decode_into(&mut workspace, kind, &images(things));
            assert_eq!(workspace.capacities(), capacities, "{kind} {things:?}");
        }
    }
}

#[test]
fn rows_of_all_images_together_allocate_once() {
    let rows: Vec<f32> =
        (0..9_u8).flat_map(|i| [f32::from(i % 3), 0.0, 0.0, f32::from(i + 1), 8.0, 0.0, 0.9]).collect();
    let output = OutputShape { name: "o".to_owned(), dims: vec![None, Some(7)] };
    let decoder = check(DecoderKind::Nms, &[output], &params()).unwrap();
    let views = [TensorView { name: "o", shape: &[9, 7], data: &rows }];
    let mut workspace = Workspace::default();
    decoder.decode(&views, 3, &params(), &mut workspace).unwrap();
    let (found, capacities) = (results(&workspace), workspace.capacities());
    assert!(found.iter().all(|image| image.as_ref().is_ok_and(|found| found.len() == 3)), "{found:?}");
    decoder.decode(&views, 3, &params(), &mut workspace).unwrap();
    assert_eq!((results(&workspace), workspace.capacities()), (found, capacities));
}

#[test]
fn a_workspace_of_another_model_changes_nothing() {
    let mut workspace = Workspace::default();
    for things in [&[8, 0, 3][..], &[1], &[0, 5]] {
        for kind in DecoderKind::ALL {
            decode_into(&mut workspace, kind, &images(things));
            assert_eq!(results(&workspace), decode(kind, &images(things)).unwrap(), "{kind}");
        }
    }
}

#[test]
fn a_run_that_fails_leaves_no_results() {
    for kind in DecoderKind::ALL {
        let mut workspace = Workspace::default();
        decode_into(&mut workspace, kind, &images(&[3, 3]));
        assert_eq!(workspace.images(), 2, "{kind}");
        let decoder = check(kind, &declared(kind), &params()).unwrap();
        assert!(decoder.decode(&[], 2, &params(), &mut workspace).is_err(), "{kind}");
        assert_eq!((workspace.images(), workspace.image(0)), (0, None), "{kind}");
    }
}
