//! Who may join, and what the others are told.

use super::*;

/// Sets a property to something else.
type Change = fn(&gst::Element);

#[test]
fn options_that_differ_are_an_error_that_names_both() {
    let model = tiny_model("brightest");
    let first = Member::new("strict", &model, 0).play();
    let cases: [(&str, Change, &str, &str); 5] = [
        ("max-batch-size", |element| element.set_property("max-batch-size", 8_u32), "has 4", "found 8"),
        ("max-latency", |element| element.set_property("max-latency", 7_u64), "has 5000000", "found 7"),
        ("on-error", |element| element.set_property_from_str("on-error", "drop"), "has pass", "found drop"),
        ("meta", |element| element.set_property_from_str("meta", "roi"), "has auto", "found roi"),
        ("model", |element| element.set_property("model", tiny_model("f16")), "brightest.onnx", "f16.onnx"),
    ];
    for (property, change, of_group, found) in cases {
        let other = Member::new("strict", &model, 1);
        change(&other.inference);
        assert!(other.pipeline.set_state(gst::State::Playing).is_err(), "{property}");
        let (source, text) = wait_for_error(&other.pipeline);
        assert_eq!(source, "member1");
        for part in [property, of_group, found, "\"strict\"", "member0"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
    first.push(0);
    first.end();
    assert_eq!(first.pull(0).status, Status::Inferred);
}

#[test]
fn groups_of_other_names_and_elements_without_one_are_apart() {
    let model = tiny_model("brightest");
    let (one, other, none) =
        (Member::new("a", &model, 0), Member::new("b", &model, 1), Member::new("", &model, 2));
    let all = [one.play(), other.play(), none.play()];
    for member in &all {
        member.push(0);
        member.end();
        let facts = member.pull(0);
        assert_eq!((facts.status, facts.batch_size.max(1)), (Status::Inferred, 1));
    }
    assert_eq!(all[0].stats().get("members"), Ok(1_u64));
    assert!(!all[2].stats().has_field("batch-group"));
}

#[test]
fn every_member_hears_that_the_model_cannot_be_opened() {
    for salt in 0..2 {
        let member = Member::new("broken", &tiny_model("no-such-model"), salt);
        assert!(member.pipeline.set_state(gst::State::Playing).is_err());
        let (source, text) = wait_for_error(&member.pipeline);
        assert_eq!(source, format!("member{salt}"));
        assert!(text.contains("no-such-model"), "{text}");
    }
}

#[test]
fn batches_do_not_enter_a_group() {
    init();
    let pipeline = crate::support::launch(&format!(
        "videotestsrc num-buffers=3 ! video/x-raw,format=RGB ! nvbatcher name=b ! nvinference batch-group=no model={} ! fakesink",
        tiny_model("brightest")
    ));
    pipeline.set_state(gst::State::Playing).ok();
    let (_, text) = wait_for_error(&pipeline);
    pipeline.set_state(gst::State::Null).expect("it stops");
    assert!(
        text.contains("batch-group is for plain video") && text.contains("multistream/x-nv-batch"),
        "{text}"
    );
}
