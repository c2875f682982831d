#!/bin/sh
# For meson.build: builds the plugin with cargo into TARGET and hands the library and what it depends on to ninja.
# usage: cargo-build.sh CARGO SOURCE TARGET OUTPUT DEPFILE
set -eu
cargo=$1 source=$2 target=$3 output=$4 depfile=$5
"$cargo" build --release --locked --lib --manifest-path "$source/Cargo.toml" --target-dir "$target"
cp "$target/release/libgstnextvision.so" "$output"
# Cargo's list names its own copy of the library; ninja wants to read the name of its output.
sed "s|^[^:]*:|$output:|" "$target/release/libgstnextvision.d" >"$depfile"
