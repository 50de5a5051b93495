//! Reads TFLite (LiteRT) models: the file's structure, the facts for `bench inspect`, and the import into
//! the engine's graph. Runs nothing and fuses nothing.

mod facts;
mod flat;
mod opcodes;
mod options;
mod schema;

pub(crate) use facts::facts;
