//! A parser for strace output: the system calls that write to files and sockets, in the order in which they began
//! and ended.

use std::collections::HashMap;
use std::path::Path;

use ap_gateway::clock::{Clock, SystemClock};

/// The begin or the end of a system call.
#[derive(Debug)]
pub struct TraceStep {
    /// The time in microseconds since 1970.
    pub time: u64,
    /// The calling thread.
    pub thread: String,
    /// The name of the file, or the socket.
    pub file: String,
    /// The effect on the file or socket.
    pub effect: Effect,
}

#[derive(Debug)]
pub enum Effect {
    /// A write of bytes at an offset.
    Wrote(usize, Vec<u8>),
    /// A truncation, or an extension with zeros.
    Resized(usize),
    /// The begin of a sync, which covers earlier writes.
    SyncBegan,
    /// The successful end of a sync.
    SyncEnded,
    /// A receipt of bytes.
    Received,
    /// A send; the number of bytes in the first buffer.
    Sent(usize),
    /// Any other call.
    Other,
}

/// Returns the current time in the unit of a trace.
pub fn now_micros() -> u64 {
    u64::try_from(SystemClock.now().micros()).unwrap()
}

/// The system calls to trace. [`steps`] parses these; a write by any other call would be missed.
pub const TRACED_CALLS: &str = "trace=pwrite64,pwritev,pwritev2,write,writev,sendto,sendmsg,recvfrom,read,ftruncate,\
                         fallocate,fsync,fdatasync,sync_file_range,unlink,rename,copy_file_range";

/// Parses a trace that was written with `-f -y -ttt -s 65536`.
pub fn parse_trace(trace: &Path) -> Vec<TraceStep> {
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
        for what in parse_call(&call, begins, ends) {
            steps.push(TraceStep { time, thread: thread.to_owned(), file: file_name(&call), effect: what });
        }
    }
    steps
}

/// Returns the name of the file behind the descriptor, or `socket:[…]`.
fn file_name(call: &str) -> String {
    let path = call.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or("", |(path, _)| path);
    path.rsplit('/').next().unwrap().to_owned()
}

fn parse_call(call: &str, begins: bool, ends: bool) -> Vec<Effect> {
    let (name, arguments) = call.split_once('(').unwrap();
    let result = call.rsplit_once(" = ").filter(|_| ends).and_then(|(_, result)| {
        let number = result.split_whitespace().next()?;
        number.parse::<i64>().ok()
    });
    let size = result.and_then(|result| usize::try_from(result).ok()).unwrap_or(0);
    // A call that failed had no effect; one that is still running may have had its whole effect.
    let failed = ends && result.is_none_or(|result| result < 0);
    match name {
        "pwrite64" if begins && !failed => {
            let (data, rest) = string_argument(arguments);
            vec![Effect::Wrote(last_argument(rest), data)]
        }
        "ftruncate" if begins && !failed => vec![Effect::Resized(last_argument(arguments))],
        "fsync" | "fdatasync" => {
            let (begins, ends) =
                (begins.then_some(Effect::SyncBegan), (ends && !failed).then_some(Effect::SyncEnded));
            begins.into_iter().chain(ends).collect()
        }
        "recvfrom" | "read" if ends && size > 0 => vec![Effect::Received],
        "writev" | "sendto" | "sendmsg" if begins && !failed => {
            vec![Effect::Sent(string_argument(arguments).0.len())]
        }
        "pwrite64" | "ftruncate" | "recvfrom" | "read" | "writev" | "sendto" | "sendmsg" => vec![],
        _ => vec![Effect::Other],
    }
}

/// Parses the last argument of a call as a number.
fn last_argument(arguments: &str) -> usize {
    arguments.rsplit(", ").next().unwrap().split(')').next().unwrap().parse().unwrap()
}

/// Decodes the first string argument (C notation) and returns its bytes and the rest.
fn string_argument(arguments: &str) -> (Vec<u8>, &str) {
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
