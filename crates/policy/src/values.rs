//! Values of filters: text to numbers, ranges, networks, ports, durations, patterns.

mod cel;
mod glob;
mod hash;
mod integer;
mod network;
mod path;
mod rate;
mod web;

pub use cel::{Comparison, Condition, MAX_CEL_DEPTH, Number, NumberType, Operation, parse as parse_cel};
pub use glob::Glob;
pub(crate) use glob::{SimpleGlob, Token};
pub use hash::{FileHash, HashAlgorithm};
pub use integer::{IntegerRange, number};
pub(crate) use integer::{integer, range};
pub use network::{Network, PortRange};
pub use path::{Step, parse as parse_resolve};
pub use rate::parse as parse_rate;
pub use web::{Url, parse_name, parse_url};
