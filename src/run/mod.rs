//! A run: the phases of one experiment, from its start to its verdict.
//!
//! [`machine`] decides, purely, what happens next; [`driver`] carries it out against a [`Stage`](driver::Stage), with the
//! built-in [`load`] and the user's [`command`], watches the [`guard`]rails and shows [`progress`]. Knows nothing of sockets
//! of the proxy, of plans, or of how faults are carried out.

pub mod machine;
