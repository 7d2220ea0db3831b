//! The command line: one file a command.

pub mod check;
pub mod client;
pub mod fault;
pub mod fault_table;
pub mod halt;
pub mod run;
pub mod schema;
#[cfg(test)]
mod tests;
