//! The farm as pages: how every device is, what last night answered, how every series goes. Reads what nights and
//! history hold, and writes nothing. Pages are pure functions from values to HTML, in the frame and style of a report
//! and without script; a `.json` beside each of them has the same for programs.
//!
//! | file | does |
//! |---|---|
//! | `folder`, `shelf` | read the files of nights, whatever state they are in |
//! | `digest` | a night in one line |
//! | `fleet`, `nights`, `night`, `device`, `trends`, `trend`, `outside` | a page each, of `parts` and `chart` |
//! | `view` | from a request's words to what a page needs |
//! | `server` | HTTP: who may ask, what may be asked, and how long it may take |

mod chart;
mod device;
mod digest;
mod fleet;
mod folder;
mod links;
mod night;
mod nights;
mod outside;
mod parts;
mod server;
mod shelf;
mod trend;
mod trends;
mod view;

pub use server::{Access, AccessError, Token, TokenError, router, serve};
pub use view::Dashboard;
