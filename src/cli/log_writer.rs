//! Writer of the operator's log. Lines go to standard error by a thread of their own, so that nothing waits for whoever
//! reads them. A line that cannot be written, or that comes while too many wait, is dropped and counted; the count is
//! logged when lines can be written again.

use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Maximum number of lines that wait to be written.
const MAX_WAITING_LINES: usize = 4_096;
/// Maximum length of a line in bytes; the rest of a longer one is dropped.
const MAX_LINE_BYTES: usize = 8 << 10;
/// Maximum time for which the end of the process waits for lines to be written.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);

/// Lines of the process that were dropped since their number was last logged.
static DROPPED: AtomicU64 = AtomicU64::new(0);
static WRITER: OnceLock<SyncSender<Message>> = OnceLock::new();

/// What the thread receives.
enum Message {
    Line(Vec<u8>),
    /// Everything before this was written or dropped.
    Flush(SyncSender<()>),
}

/// Writer of lines to the log. It never waits and never fails.
#[derive(Clone, Copy, Debug)]
pub struct LogWriter;

impl LogWriter {
    /// Starts the thread, unless it runs.
    ///
    /// # Errors
    /// The error of the operating system if it starts no thread.
    pub fn start() -> io::Result<Self> {
        let (lines, waiting) = sync_channel(MAX_WAITING_LINES);
        if WRITER.set(lines).is_ok() {
            std::thread::Builder::new().name("log".to_owned()).spawn(move || write_lines(&waiting))?;
        }
        Ok(Self)
    }

    /// Prints a message of any length behind the lines so far, and waits as [`LogWriter::flush`] does. If the thread does
    /// not run, it writes to standard error itself.
    pub fn print(text: String) {
        match WRITER.get() {
            Some(lines) => drop(lines.try_send(Message::Line(text.into_bytes()))),
            None => drop(io::stderr().lock().write_all(text.as_bytes())),
        }
        Self::flush();
    }

    /// Waits until the lines so far are written, but not longer than half a second.
    pub fn flush() {
        let (done, written) = sync_channel(1);
        let Some(lines) = WRITER.get() else { return };
        // Asked for again while the queue is full.
        let mut flush = Message::Flush(done);
        for _ in 0..50 {
            match lines.try_send(flush) {
                Ok(()) => {
                    written.recv_timeout(FLUSH_TIMEOUT).ok();
                    return;
                }
                Err(TrySendError::Full(again)) => flush = again,
                Err(TrySendError::Disconnected(_)) => return,
            }
            std::thread::sleep(FLUSH_TIMEOUT / 50);
        }
    }
}

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let kept = cut(line);
        let is_taken = WRITER.get().is_some_and(|lines| lines.try_send(Message::Line(kept)).is_ok());
        if !is_taken {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for LogWriter {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}

/// Returns a line of at most the maximum length, which ends as a line does.
fn cut(line: &[u8]) -> Vec<u8> {
    if line.len() <= MAX_LINE_BYTES {
        return line.to_vec();
    }
    let mut kept = line.get(..MAX_LINE_BYTES - 1).unwrap_or_default().to_vec();
    kept.push(b'\n');
    kept
}

fn write_lines(waiting: &Receiver<Message>) {
    for message in waiting {
        match message {
            Message::Line(line) => {
                if io::stderr().lock().write_all(&line).is_err() {
                    DROPPED.fetch_add(1, Ordering::Relaxed);
                } else if let lines @ 1.. = DROPPED.swap(0, Ordering::Relaxed) {
                    tracing::warn!(
                        lines,
                        "lines of this log were dropped, because they could not be written"
                    );
                }
            }
            Message::Flush(done) => drop(done.try_send(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_cut_ends_as_a_line() {
        let line = |length: usize| [vec![b'x'; length - 1], b"\n".to_vec()].concat();
        for length in [1, MAX_LINE_BYTES, MAX_LINE_BYTES + 1, 3 * MAX_LINE_BYTES] {
            assert_eq!(cut(&line(length)), line(length.min(MAX_LINE_BYTES)));
        }
    }
}
