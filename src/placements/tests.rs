//! Tests of the placement methods through the whole exchange pipeline, on a real database, without a network.

mod fixtures;
mod lifecycle;
mod reads;
mod referrals;
mod test_gateway;
