//! A `GstStructure` as the value of a property: the bindings have no property type for it.

#![expect(unsafe_code, reason = "reading a value out of a GValue is an unsafe trait of the bindings")]

use glib::prelude::*;

/// The value of a `stats` property.
#[derive(Clone, Debug)]
pub struct Stats(gst::Structure);

impl From<gst::Structure> for Stats {
    fn from(structure: gst::Structure) -> Self {
        Self(structure)
    }
}

impl std::ops::Deref for Stats {
    type Target = gst::StructureRef;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl StaticType for Stats {
    fn static_type() -> glib::Type {
        gst::Structure::static_type()
    }
}

impl ToValue for Stats {
    fn to_value(&self) -> glib::Value {
        self.0.to_value()
    }

    fn value_type(&self) -> glib::Type {
        Self::static_type()
    }
}

impl From<Stats> for glib::Value {
    fn from(stats: Stats) -> Self {
        stats.0.to_value()
    }
}

// SAFETY: the checker is the one of `gst::Structure`, so a value that passes it holds a non-null structure.
unsafe impl<'a> glib::value::FromValue<'a> for Stats {
    type Checker = <gst::Structure as glib::value::FromValue<'a>>::Checker;

    unsafe fn from_value(value: &'a glib::Value) -> Self {
        // SAFETY: the caller has run the checker.
        Self(unsafe { gst::Structure::from_value(value) })
    }
}

impl HasParamSpec for Stats {
    type ParamSpec = glib::ParamSpecBoxed;
    type SetValue = Self;
    type BuilderFn = for<'a> fn(&'a str) -> glib::ParamSpecBoxedBuilder<'a, Self>;

    fn param_spec_builder() -> Self::BuilderFn {
        Self::ParamSpec::builder
    }
}
