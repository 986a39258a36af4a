//! Actions in real processes of Node.js.

mod calls;
mod families;
mod harness;
mod limits;
mod packages;
mod pool;
mod pushes;
