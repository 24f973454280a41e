//! Whether the server's memory stays flat while a million marks go up by streams: fifty returns of 20,000 on one
//! connection, their answers read, on a sandbox that runs as a process of its own. Run it with
//! `cargo bench --bench stream`.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a bench ends at the first surprise, and prints rates for people"
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

use ap_gateway::cli::bench::{fleet, serve};

use upload::{Upload, marks, part};
use wire::{Wire, address, tls};

const CHILDREN: usize = 30;
const RETURNS: usize = 50;
const RETURN: usize = 20_000;

fn main() {
    machine::print();
    let dir = tempfile::TempDir::new().unwrap();
    let server = serve(Path::new(env!("CARGO_BIN_EXE_ap-gateway")), dir.path(), None).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let fleet = fleet::make(dir.path(), 1, CHILDREN).await.unwrap();
        let provider = fleet.first().unwrap();
        let file = |kind: &str| dir.path().join(format!("fleet/{}.{kind}", provider.name));
        let tls = tls(&dir.path().join("ca.pem"), Some((&file("pem"), &file("key"))));
        let wire = Wire::open(address(dir.path()), tls).await.unwrap();
        let mebibytes = || server.resident() >> 20;
        println!("before: {} MiB", mebibytes());
        let (begun, mut settled, mut most) = (Instant::now(), 0, 0);
        let all = marks(&provider.placements, RETURNS * RETURN);
        for (number, all) in (1..).zip(all.chunks(RETURN)) {
            let (mut upload, opened) = Upload::of(&wire, "").await;
            for (part_number, marks) in (1..).zip(all.chunks(1_000)) {
                let last = part_number == 20;
                let answer = upload.part(&part(&opened.return_id, part_number, marks, 200, last)).await;
                assert_eq!(answer.unwrap().stored, 1_000);
            }
            assert!(upload.half_close().await.unwrap().is_none());
            most = most.max(mebibytes());
            // By then the committer's 64 MiB of pages are full.
            if number == 15 {
                (settled, most) = (mebibytes(), mebibytes());
            }
            if number % 5 == 0 {
                println!("{:>9} marks: {} MiB", number * RETURN, mebibytes());
            }
        }
        let rate = (RETURNS * RETURN) as f64 / begun.elapsed().as_secs_f64();
        println!(
            "grown by at most {} MiB after 300,000 marks; {rate:.0} marks/s, a part at a time",
            most - settled
        );
    });
    drop(server);
}
