//! The agent as a process: started, spoken to, broken and killed from outside.

#[cfg(test)]
mod client;
#[cfg(test)]
mod device;
#[cfg(test)]
mod document;
#[cfg(test)]
mod emulated;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod trials;
#[cfg(test)]
mod turns;
