//! What the suite can find, what the compiler promises, and what no case can ask of a transport.

mod bytes;
mod facts;
mod faulty;
mod fixtures;
mod guarantees;
mod handles;
mod self_test;
mod ui;
