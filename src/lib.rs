//! The secure gateway between those who commission alternative provision and those who provide it.

/// The messages and methods of `apgateway.v1`, generated from `proto/`.
pub mod proto {}
