#!/bin/sh
# For meson.build: builds the plugin and the program with cargo into TARGET and hands them to ninja, with what they
# depend on.
# usage: cargo-build.sh CARGO SOURCE TARGET LIBRARY PROGRAM DEPFILE
set -eu
cargo=$1 source=$2 target=$3 library=$4 program=$5 depfile=$6
"$cargo" build --release --locked --lib --bin nextvision --manifest-path "$source/Cargo.toml" --target-dir "$target"
cp "$target/release/libgstnextvision.so" "$library"
cp "$target/release/nextvision" "$program"
# Cargo's lists name its own copies; ninja wants to read the names of its outputs.
sed "s|^[^:]*:|$library:|" "$target/release/libgstnextvision.d" >"$depfile"
sed "s|^[^:]*:|$program:|" "$target/release/nextvision.d" >>"$depfile"
