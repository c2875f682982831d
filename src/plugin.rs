//! The plugin `nextvision`: what GStreamer's registry reads. Registers element types and nothing else:
//! no thread, no library, no model is opened here, so scanning works wherever GStreamer does.

#![expect(missing_docs, reason = "the items of `plugin_define!` carry no documentation")]

use crate::elements::register;

gst::plugin_define!(
    nextvision,
    env!("CARGO_PKG_DESCRIPTION"),
    register,
    concat!(env!("CARGO_PKG_VERSION"), "-", env!("COMMIT_ID")),
    "MIT/X11",
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_NAME"),
    "gst-plugin-nextvision",
    env!("BUILD_REL_DATE")
);
