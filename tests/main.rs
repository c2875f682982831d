//! The integration tests: one binary, a module per topic.

// The layer rule and the size budgets.
mod architecture;
// The sink that gives one record per frame.
mod nvsink;
