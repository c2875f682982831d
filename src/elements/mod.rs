//! The elements: thin shells that translate between GStreamer and the layers below.

pub mod nvsink;

pub(crate) mod message;

/// Registers every element of the plugin, in pipeline order.
pub(crate) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    nvsink::register(plugin)
}
