//! Server memory while a million marks are streamed: fifty returns of 20,000 marks on one connection, with their
//! responses read, to a sandbox in a separate process. Run it with `cargo bench --bench stream`.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a bench fails at the first unexpected result, and prints rates for people"
)]

#[path = "gateway/machine.rs"]
mod machine;
#[path = "../tests/it/upload.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod upload;
#[path = "../tests/it/wire.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod wire;

use std::path::Path;
use std::time::Instant;

use ap_gateway::cli::bench::{fleet, spawn_sandbox};

use upload::{Upload, marks, part};
use wire::{Wire, address, tls};

const CHILDREN: usize = 30;
const RETURNS: usize = 50;
const MARKS_PER_RETURN: usize = 20_000;

fn main() {
    machine::print();
    let dir = tempfile::TempDir::new().unwrap();
    let server = spawn_sandbox(Path::new(env!("CARGO_BIN_EXE_ap-gateway")), dir.path(), None).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let fleet = fleet::load_or_create(dir.path(), 1, CHILDREN).await.unwrap();
        let provider = fleet.first().unwrap();
        let file = |kind: &str| dir.path().join(format!("fleet/{}.{kind}", provider.name));
        let tls = tls(&dir.path().join("ca.pem"), Some((&file("pem"), &file("key"))));
        let wire = Wire::open(address(dir.path()), tls).await.unwrap();
        let mebibytes = || server.resident_bytes() >> 20;
        println!("before: {} MiB", mebibytes());
        let (begun, mut settled, mut most) = (Instant::now(), 0, 0);
        let all = marks(&provider.placements, RETURNS * MARKS_PER_RETURN);
        for (number, all) in (1..).zip(all.chunks(MARKS_PER_RETURN)) {
            let (mut upload, opened) = Upload::start(&wire, "").await;
            for (part_number, marks) in (1..).zip(all.chunks(1_000)) {
                let last = part_number == 20;
                let answer = upload.part(&part(&opened.return_id, part_number, marks, 200, last)).await;
                assert_eq!(answer.unwrap().stored, 1_000);
            }
            assert!(upload.half_close().await.unwrap().is_none());
            most = most.max(mebibytes());
            // By then the committer's page cache of 64 MiB is full.
            if number == 15 {
                (settled, most) = (mebibytes(), mebibytes());
            }
            if number % 5 == 0 {
                println!("{:>9} marks: {} MiB", number * MARKS_PER_RETURN, mebibytes());
            }
        }
        let rate = (RETURNS * MARKS_PER_RETURN) as f64 / begun.elapsed().as_secs_f64();
        println!(
            "grown by at most {} MiB after 300,000 marks; {rate:.0} marks/s, a part at a time",
            most - settled
        );
    });
    drop(server);
}
