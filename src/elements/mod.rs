//! The elements: thin shells that translate between GStreamer and the layers below.

/// Registers every element of the plugin, in pipeline order.
pub(crate) fn register(_plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    Ok(())
}
