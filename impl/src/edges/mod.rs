//! What the server needs of the world, as traits: each has a real side in `runtime` and a virtual one in the simulator.

pub mod clock;
pub mod wake;
