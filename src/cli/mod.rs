//! The command line: one file a command.

pub mod client;
pub mod fault;
pub mod fault_table;
pub mod halt;
#[cfg(test)]
mod tests;
