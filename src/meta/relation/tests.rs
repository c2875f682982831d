//! What is done without the library. What is done with it is in `tests/upstream`, which finds a GStreamer that has it.

use super::*;

#[test]
fn without_the_library_it_is_said_what_to_install_and_nothing_is_done() {
    gst::init().unwrap();
    let mut buffer = gst::Buffer::new();
    let Err(why) = available() else { return };
    for part in ["1.24", "libgstanalytics-1.0.so.0", "libgstreamer-plugins-bad1.0-0", "found"] {
        assert!(why.contains(part), "{why}");
    }
    assert!(Relations::on(buffer.get_mut().unwrap(), 3).is_none());
    assert!(Relations::existing(buffer.get_mut().unwrap()).is_none());
    assert_eq!(read(&buffer), []);
    assert_eq!(buffer.iter_meta::<gst::Meta>().count(), 0);
}
