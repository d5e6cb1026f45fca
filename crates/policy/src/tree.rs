//! YAML with places, for other files that are written by hand as policies are: trees of nodes, and reports that say
//! what is wrong with them and where.

pub use crate::diagnostic::{At, Path, Report};
pub use crate::yaml::{Content, Key, Node, parse, shorten};
