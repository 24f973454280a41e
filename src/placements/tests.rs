//! Placements through the real door, on a real database, without a network.

mod reads;
mod referrals;
mod requests;
mod stories;
mod world;
