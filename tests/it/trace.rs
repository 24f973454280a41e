//! What strace saw: the system calls that write to files and sockets, in the order in which they began and
//! ended.

use std::collections::HashMap;
use std::path::Path;

use ap_gateway::clock::{Clock, SystemClock};

/// One moment of a trace.
#[derive(Debug)]
pub struct Step {
    /// Microseconds since 1970, on this machine's clock.
    pub time: u64,
    /// The thread that asked for it.
    pub thread: String,
    /// The file, by its name, or the socket.
    pub file: String,
    /// What happened to it.
    pub what: What,
}

#[derive(Debug)]
pub enum What {
    /// Bytes were written at an offset.
    Wrote(usize, Vec<u8>),
    /// It was cut, or extended with zeros.
    Sized(usize),
    /// A sync was asked for; it covers what was written before.
    SyncBegan,
    /// The sync has ended well.
    SyncEnded,
    /// Bytes were received.
    Received,
    /// Bytes are being sent, so many in the first piece.
    Sent(usize),
    /// Another call.
    Other,
}

/// The time as a trace gives it.
pub fn now() -> u64 {
    u64::try_from(SystemClock.now().micros()).unwrap()
}

/// The calls that [`steps`] knows; a write by any other would be missed.
pub const CALLS: &str = "trace=pwrite64,pwritev,pwritev2,write,writev,sendto,sendmsg,recvfrom,read,ftruncate,\
                         fallocate,fsync,fdatasync,sync_file_range,unlink,rename,copy_file_range";

/// The steps in a trace that was written with `-f -y -ttt -s 65536`.
pub fn steps(trace: &Path) -> Vec<Step> {
    let text = std::fs::read_to_string(trace).unwrap();
    let (mut steps, mut pending) = (Vec::new(), HashMap::new());
    for line in text.lines() {
        let (thread, rest) = line.split_once(' ').unwrap();
        let (time, rest) = rest.trim_start().split_once(' ').unwrap();
        let time = time.replace('.', "").parse().unwrap();
        if rest.starts_with("+++") || rest.starts_with("---") || rest.starts_with("strace:") {
            continue;
        }
        let (call, begins, ends) = if let Some(resumed) = rest.strip_prefix("<... ") {
            let Some(call): Option<String> = pending.remove(thread) else { continue };
            (format!("{call}{}", resumed.split_once(" resumed>").unwrap().1), false, true)
        } else if let Some(unfinished) = rest.strip_suffix(" <unfinished ...>") {
            pending.insert(thread.to_owned(), unfinished.to_owned());
            (unfinished.to_owned(), true, false)
        } else {
            (rest.to_owned(), true, true)
        };
        for what in parse(&call, begins, ends) {
            steps.push(Step { time, thread: thread.to_owned(), file: file(&call), what });
        }
    }
    steps
}

/// The file name behind the descriptor, or `socket:[…]`.
fn file(call: &str) -> String {
    let path = call.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or("", |(path, _)| path);
    path.rsplit('/').next().unwrap().to_owned()
}

fn parse(call: &str, begins: bool, ends: bool) -> Vec<What> {
    let (name, arguments) = call.split_once('(').unwrap();
    let result = call.rsplit_once(" = ").filter(|_| ends).and_then(|(_, result)| {
        let number = result.split_whitespace().next()?;
        number.parse::<i64>().ok()
    });
    let size = result.and_then(|result| usize::try_from(result).ok()).unwrap_or(0);
    // A call that failed at once did nothing; one that is still running may have done all of it.
    let failed = ends && result.is_none_or(|result| result < 0);
    match name {
        "pwrite64" if begins && !failed => {
            let (data, rest) = text(arguments);
            vec![What::Wrote(last(rest), data)]
        }
        "ftruncate" if begins && !failed => vec![What::Sized(last(arguments))],
        "fsync" | "fdatasync" => {
            let (begins, ends) =
                (begins.then_some(What::SyncBegan), (ends && !failed).then_some(What::SyncEnded));
            begins.into_iter().chain(ends).collect()
        }
        "recvfrom" | "read" if ends && size > 0 => vec![What::Received],
        "writev" | "sendto" | "sendmsg" if begins && !failed => vec![What::Sent(text(arguments).0.len())],
        "pwrite64" | "ftruncate" | "recvfrom" | "read" | "writev" | "sendto" | "sendmsg" => vec![],
        _ => vec![What::Other],
    }
}

/// The last argument of a call.
fn last(arguments: &str) -> usize {
    arguments.rsplit(", ").next().unwrap().split(')').next().unwrap().parse().unwrap()
}

/// The bytes of the first string in C's notation, and what follows it.
fn text(arguments: &str) -> (Vec<u8>, &str) {
    let (_, quoted) = arguments.split_once('"').unwrap();
    let source = quoted.as_bytes();
    let (mut bytes, mut at) = (Vec::with_capacity(source.len() / 2), 0);
    while source[at] != b'"' {
        if source[at] != b'\\' {
            bytes.push(source[at]);
            at += 1;
            continue;
        }
        at += 1;
        let octal = source[at..].iter().take(3).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
        if octal > 0 {
            let digits = source[at..at + octal].iter();
            bytes.push(digits.fold(0, |value: u8, digit| value.wrapping_mul(8) + (digit - b'0')));
            at += octal;
        } else {
            bytes.push(match source[at] {
                b'n' => b'\n',
                b't' => b'\t',
                b'r' => b'\r',
                b'v' => 0x0b,
                b'f' => 0x0c,
                other => other,
            });
            at += 1;
        }
    }
    (bytes, &quoted[at..])
}
