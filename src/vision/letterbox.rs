//! To be written.
/// To be written.
#[derive(Clone, Copy, Debug)]
pub struct Letterbox;
impl Letterbox {
    /// To be written.
    pub fn frame_from_model(&self) {}
}
