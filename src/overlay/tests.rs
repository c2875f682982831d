//! Scenes: what is on them, and that nothing makes one that does not fit its frame.

use super::*;
use crate::time::Monotonic;
use crate::vision::Size;
use proptest::prelude::*;

fn options() -> Options {
    Options {
        style: Style::ALL,
        palette: Palette::Track,
        scale: 1.0,
        line_width: 0,
        min_confidence: 0.0,
        tail_length: 30,
    }
}

fn person(id: i64, box_in_frame: Rect) -> Region<'static> {
    Region {
        box_in_frame,
        label: "person",
        class: Some(0),
        confidence: Some(0.87),
        track: Some(Track { id, state: TrackState::Confirmed }),
        ..Region::default()
    }
}

fn note(feed_id: &str) -> Note<'_> {
    Note { feed_id, status: Status::Inferred, session: 0 }
}

fn draw(artist: &mut Artist, frame: Size, regions: &[Region<'_>], note: Option<Note<'_>>) -> Scene {
    let mut scene = Scene::default();
    artist.draw(frame, regions, note, Monotonic::ZERO, &options(), &mut scene);
    scene
}

fn assert_inside(scene: &Scene, frame: Size) {
    for piece in &scene.pieces {
        assert!(piece.width > 0 && piece.height > 0, "{piece:?}");
        assert!(piece.x + piece.width <= frame.width, "{piece:?}");
        assert!(piece.y + piece.height <= frame.height, "{piece:?}");
        if let Cover::Mask(mask) = &piece.cover {
            assert_eq!((mask.width, mask.height), (piece.width, piece.height));
            assert_eq!(mask.coverage.len(), (mask.width * mask.height) as usize);
        }
    }
}

const VGA: Size = Size::new(640, 480);

#[test]
fn a_region_has_four_sides_and_a_plate() {
    let scene =
        draw(&mut Artist::default(), VGA, &[person(7, Rect::from_corners(100.0, 100.0, 200.0, 300.0))], None);
    assert_inside(&scene, VGA);
    let (plates, sides): (Vec<_>, Vec<_>) = scene.pieces.iter().partition(|piece| piece.ground.is_some());
    assert_eq!((plates.len(), sides.len(), scene.drawn), (1, 4, 1));
    assert!(plates[0].y + plates[0].height <= 100 && plates[0].x == 100, "above the box");
    let inside = sides.iter().all(|side| {
        side.x >= 100 && side.y >= 100 && side.x + side.width <= 200 && side.y + side.height <= 300
    });
    assert!(inside, "{sides:?}");
}

#[test]
fn nothing_found_is_nothing_to_paint() {
    assert_eq!(draw(&mut Artist::default(), VGA, &[], None), Scene::default());
}

#[test]
fn a_steady_picture_is_the_same_scene_with_the_same_text() {
    let mut artist = Artist::default();
    let regions = [person(7, Rect::from_corners(100.0, 100.0, 200.0, 300.0))];
    let first = draw(&mut artist, VGA, &regions, Some(note("door")));
    let second = draw(&mut artist, VGA, &regions, Some(note("door")));
    let plate = |scene: &Scene| match scene.pieces.last().map(|piece| piece.cover.clone()) {
        Some(Cover::Mask(mask)) => mask,
        other => panic!("{other:?}"),
    };
    assert!(Arc::ptr_eq(&plate(&first), &plate(&second)));
}

#[test]
fn the_style_says_what_is_drawn() {
    let mut region = person(7, Rect::from_corners(100.0, 100.0, 200.0, 300.0));
    region.attributes.push(Attribute { label: "sitting", confidence: Some(0.5) });
    let count = |bits: u32| {
        let (mut artist, mut scene) = (Artist::default(), Scene::default());
        let options = Options { style: Style::from_bits(bits), ..options() };
        artist.draw(VGA, &[region.clone()], Some(note("door")), Monotonic::ZERO, &options, &mut scene);
        scene.pieces.len()
    };
    let parts = [Part::Boxes, Part::Labels, Part::Ids, Part::Tails, Part::Attributes, Part::Status];
    assert_eq!(parts.map(|part| count(part as u32)), [4, 1, 1, 0, 1, 1]);
    assert_eq!(count(0), 0);
}

#[test]
fn a_predicted_box_has_corners_only_and_a_lost_one_is_not_drawn() {
    let of = |state| {
        let region = Region {
            track: Some(Track { id: 1, state }),
            ..person(1, Rect::from_corners(100.0, 100.0, 200.0, 300.0))
        };
        draw(&mut Artist::default(), VGA, &[region], None).pieces.len()
    };
    assert_eq!((of(TrackState::Confirmed), of(TrackState::Coasted), of(TrackState::Lost)), (5, 9, 0));
}

#[test]
fn regions_below_the_confidence_asked_for_are_not_drawn() {
    let (mut artist, mut scene) = (Artist::default(), Scene::default());
    let options = Options { min_confidence: 0.9, ..options() };
    let regions = [person(1, Rect::from_corners(1.0, 1.0, 50.0, 50.0))];
    artist.draw(VGA, &regions, None, Monotonic::ZERO, &options, &mut scene);
    assert_eq!(scene, Scene::default());
}

#[test]
fn a_moving_track_has_a_tail_until_its_session_ends() {
    let mut artist = Artist::default();
    let tails = |scene: &Scene| {
        let is_tail = |piece: &&Piece| piece.ground.is_none() && piece.cover != Cover::Full;
        scene.pieces.iter().filter(is_tail).count()
    };
    for step in 0_u8..5 {
        let x = 100.0 + 10.0 * f32::from(step);
        let regions = [person(1, Rect::from_corners(x, 100.0, x + 50.0, 200.0))];
        let scene = draw(&mut artist, VGA, &regions, Some(note("door")));
        assert_eq!(tails(&scene) > 0, step > 0);
    }
    let restarted = Note { session: 1, ..note("door") };
    assert_eq!(tails(&draw(&mut artist, VGA, &[], Some(restarted))), 0);
}

#[test]
fn small_frames_have_boxes_and_no_text() {
    let frame = Size::new(16, 16);
    let scene = draw(
        &mut Artist::default(),
        frame,
        &[person(1, Rect::from_corners(2.0, 2.0, 12.0, 12.0))],
        Some(note("door")),
    );
    assert_inside(&scene, frame);
    assert!(!scene.pieces.is_empty() && scene.pieces.iter().all(|piece| piece.ground.is_none()));
}

#[test]
fn numbers_that_are_none_are_left_out_and_counted() {
    let regions = [
        Rect::from_corners(f32::NAN, 0.0, 9.0, 9.0),
        Rect::from_corners(0.0, 0.0, f32::INFINITY, 9.0),
        Rect::from_corners(9.0, 9.0, 3.0, 3.0),
        Rect::from_corners(-50.0, -50.0, -3.0, -3.0),
    ];
    let scene = draw(&mut Artist::default(), VGA, &regions.map(|region| person(1, region)), None);
    assert_eq!((scene.pieces.len(), scene.drawn, scene.left_out), (0, 0, 4));
}

#[test]
fn thousands_of_regions_are_bounded() {
    let regions: Vec<_> = (0_u16..4096)
        .map(|at| {
            let (x, y) = (f32::from(at % 64) * 10.0, f32::from(at / 64) * 7.0);
            person(i64::from(at), Rect::from_corners(x, y, x + 30.0, y + 30.0))
        })
        .collect();
    let mut artist = Artist::default();
    for _ in 0..3 {
        let scene = draw(&mut artist, VGA, &regions, Some(note("door")));
        assert_inside(&scene, VGA);
        assert_eq!(scene.drawn, MAX_DRAWN as u64);
        assert_eq!(scene.left_out, 4096 - MAX_DRAWN as u64);
    }
}

#[test]
fn a_label_of_ten_thousand_characters_is_cut() {
    let label = "ß".repeat(10_000);
    let mut region: Region<'_> = person(1, Rect::from_corners(300.0, 100.0, 400.0, 200.0));
    region.label = &label;
    let scene = draw(&mut Artist::default(), VGA, &[region], Some(note(&label)));
    assert_inside(&scene, VGA);
    assert_eq!(scene.pieces.len(), 6);
}

fn any_side() -> impl Strategy<Value = f32> {
    prop_oneof![
        -50.0_f32..5000.0,
        Just(f32::NAN),
        Just(f32::INFINITY),
        Just(f32::MIN),
        Just(f32::MAX),
        Just(0.0)
    ]
}

fn any_region() -> impl Strategy<Value = (Rect, String, Option<f32>, Option<i64>)> {
    let rect = (any_side(), any_side(), any_side(), any_side())
        .prop_map(|(x_min, y_min, x_max, y_max)| Rect { x_min, y_min, x_max, y_max });
    (rect, ".{0,30}", proptest::option::of(any::<f32>()), proptest::option::of(any::<i64>()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_found_the_pieces_lie_in_the_frame(
        found in proptest::collection::vec(any_region(), 0..20),
        (width, height) in (0_u32..2000, 0_u32..2000),
        (scale, line_width) in (any::<f32>(), 0_u32..100),
        tail_length in 0_u32..100,
    ) {
        let frame = Size::new(width, height);
        let regions: Vec<_> = found
            .iter()
            .map(|(box_in_frame, label, confidence, id)| Region {
                box_in_frame: *box_in_frame,
                label,
                confidence: *confidence,
                track: id.map(|id| Track { id, ..Track::default() }),
                ..Region::default()
            })
            .collect();
        let options = Options { scale, line_width, tail_length, ..options() };
        let (mut artist, mut scene) = (Artist::default(), Scene::default());
        for shift in 0_u8..3 {
            let moved: Vec<_> = regions
                .iter()
                .map(|region| {
                    let mut region = region.clone();
                    region.box_in_frame.x_max += f32::from(shift) * 20.0;
                    region
                })
                .collect();
            artist.draw(frame, &moved, Some(note("door")), Monotonic::ZERO, &options, &mut scene);
            assert_inside(&scene, frame);
        }
    }
}
