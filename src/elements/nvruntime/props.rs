//! Making elements, and setting the properties that a site file names.

use crate::time::nanos;
use glib::object::IsClass;
use glib::prelude::*;
use std::time::Duration;

/// An element of that name.
pub(super) fn made<T: IsA<gst::Element> + IsA<glib::Object> + IsClass>(name: &str) -> T {
    glib::Object::builder::<T>().property("name", name).build()
}

/// Sets a property, if the site file has a value for it.
pub(super) fn set<T: Into<glib::Value>>(object: &impl IsA<glib::Object>, property: &str, value: Option<T>) {
    if let Some(value) = value {
        object.set_property_from_value(property, &value.into());
    }
}

/// The same, for a time.
pub(super) fn set_time(object: &impl IsA<glib::Object>, property: &str, value: Option<Duration>) {
    set(object, property, value.map(nanos));
}

/// The same, for one of the values of an enumeration.
pub(super) fn set_nick(object: &impl IsA<glib::Object>, property: &str, nick: Option<&str>) {
    let Some(nick) = nick else { return };
    let kind = object.find_property(property).map(|pspec| pspec.value_type());
    let value = kind.and_then(glib::EnumClass::with_type).and_then(|class| class.to_value_by_nick(nick));
    // A test compares the choices of site files with those of the elements.
    if let Some(value) = value {
        object.set_property_from_value(property, &value);
    }
}
