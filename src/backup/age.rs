//! Encryption to recipients with the command `age`. Plain text goes through pipes and is in no file.

use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

/// The command, which is looked up in PATH.
const AGE: &str = "age";
/// Maximum time of a run. An identity may be protected by a passphrase, for which age asks on the terminal.
const MAX_RUN_TIME: Duration = Duration::from_mins(5);
/// Interval of looking whether the command has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// What an encrypted file begins with.
const HEADER: &[u8] = b"age-encryption.org/v1\n";

/// Why `age` did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum AgeError {
    /// The command cannot be started.
    #[error("the command age cannot be run: install it (Debian: apt-get install age)")]
    NotFound(#[source] io::Error),
    /// The command failed.
    #[error("age: {0}")]
    Failed(String),
    /// A pipe to the command failed.
    #[error("age: its pipe failed")]
    Pipe(#[source] io::Error),
    /// The command did not end in time.
    #[error("age did not end within 5 minutes")]
    TimedOut,
}

/// Encrypts a text to the recipients of a file, one a line.
///
/// # Errors
/// [`AgeError`].
pub(super) fn encrypt(recipients: &Path, plain: &[u8]) -> Result<Vec<u8>, AgeError> {
    let mut command = Command::new(AGE);
    command.arg("--encrypt").arg("--recipients-file").arg(recipients);
    let encrypted = run(command, plain, plain.len().saturating_mul(2))?;
    // What age encrypts is longer than its plain text: a header, and a tag for each 64 KiB.
    if !encrypted.starts_with(HEADER) || encrypted.len() <= plain.len() {
        return Err(AgeError::Failed("it wrote no encrypted file".to_owned()));
    }
    Ok(encrypted.to_vec())
}

/// Decrypts a file with an identity.
///
/// # Errors
/// [`AgeError`].
pub(super) fn decrypt(identity: &Path, file: &Path) -> Result<Zeroizing<Vec<u8>>, AgeError> {
    let mut command = Command::new(AGE);
    command.arg("--decrypt").arg("--identity").arg(identity).arg(file);
    let length = file.metadata().map_or(0, |file| file.len());
    run(command, &[], usize::try_from(length).unwrap_or_default())
}

/// Runs the command with an input, and returns its output. A buffer of the expected capacity does not grow, because each
/// time it grew it would leave a copy in memory.
fn run(mut command: Command, input: &[u8], capacity: usize) -> Result<Zeroizing<Vec<u8>>, AgeError> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(AgeError::NotFound)?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let mut output = Zeroizing::new(Vec::with_capacity(capacity));
    let mut message = String::new();
    let ended = thread::scope(|scope| {
        let written = scope.spawn(move || stdin.map_or(Ok(()), |mut pipe| pipe.write_all(input)));
        let output = &mut output;
        let read = scope.spawn(move || stdout.map_or(Ok(0), |mut pipe| pipe.read_to_end(output)));
        let message = &mut message;
        let explained = scope.spawn(move || stderr.map_or(Ok(0), |mut pipe| pipe.read_to_string(message)));
        let ended = wait(&mut child);
        // A command that fails closes its input early; its message says more than the pipe's error.
        let pipes = [written.join().map(|done| done.map(|()| 0)), read.join(), explained.join()];
        (ended, pipes)
    });
    let (is_success, pipes) = (ended.0?, ended.1);
    if !is_success {
        let first = message.lines().next().unwrap_or("it failed without a message");
        return Err(AgeError::Failed(first.trim_start_matches("age: ").to_owned()));
    }
    for pipe in pipes {
        pipe.map_err(|_| AgeError::Failed("its pipe broke".to_owned()))?.map_err(AgeError::Pipe)?;
    }
    Ok(output)
}

/// Waits for the end of the command, and returns whether it succeeded. It is killed when it takes too long.
fn wait(child: &mut Child) -> Result<bool, AgeError> {
    let begun = Instant::now();
    loop {
        match child.try_wait().map_err(AgeError::Pipe)? {
            Some(status) => return Ok(status.success()),
            None if begun.elapsed() > MAX_RUN_TIME => {
                child.kill().map_err(AgeError::Pipe)?;
                child.wait().map_err(AgeError::Pipe)?;
                return Err(AgeError::TimedOut);
            }
            None => thread::sleep(POLL_INTERVAL),
        }
    }
}
