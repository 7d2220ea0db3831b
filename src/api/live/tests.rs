//! The live page: what it remembers, what it renders, and what a viewer is sent.

