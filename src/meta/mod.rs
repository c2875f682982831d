//! What travels on buffers. The only folder with `unsafe`.
