//! The controller. Does nothing itself: `harness` is the product.
fn main() {}
