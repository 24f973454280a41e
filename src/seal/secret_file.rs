//! Files that hold secrets: read only when nobody else can read them, written whole or not at all.
//!
//! Owns the mode check (0600), and the atomic write (lock the folder, temporary file, fsync, rename, fsync the
//! folder). It must never overwrite a file that it was told to create, nor repeat a file's content in an error.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// The longest secret file that is read, in bytes.
const LONGEST: u64 = 1 << 20;

/// Why a file of secrets was not read or written. Never repeats its content.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system refused; `doing` says at what.
    #[error("cannot {doing}: {cause}")]
    Io {
        /// What was tried, as a verb and its object.
        doing: &'static str,
        /// The system's reason.
        cause: io::Error,
    },
    /// Group or others may read or write it.
    #[error("group or others have rights to it (mode {mode:04o}): run chmod 600 on it")]
    Exposed {
        /// The permission bits found.
        mode: u32,
    },
    /// It is a folder, a pipe or a device.
    #[error("it is not a plain file")]
    NotPlain,
    /// Not the expected TOML; only the place is told, because the line may hold a key.
    #[error("it is not understood at line {line}")]
    Malformed {
        /// Line number, from 1; 0 when unknown.
        line: usize,
    },
    /// Understood, but what it says cannot be.
    #[error("{0}")]
    Invalid(&'static str),
    /// A file of that name is there already and is never overwritten.
    #[error("it exists already")]
    Exists,
    /// The cryptographic library took no key from it.
    #[error(transparent)]
    Seal(#[from] super::SealError),
}

/// Reads a secret file's text.
///
/// # Errors
/// [`FileError::Exposed`] when anyone but the owner has a right to it (Unix), [`FileError::Io`] otherwise.
pub(super) fn read(path: &Path) -> Result<Zeroizing<String>, FileError> {
    // Before it is opened: a named pipe would block.
    check_private(path)?;
    let file = File::open(path).map_err(doing("open it"))?;
    let about = file.metadata().map_err(doing("look at its mode"))?;
    check_mode(&about)?;
    if about.len() > LONGEST {
        return Err(FileError::Invalid("longer than 1 MiB"));
    }
    // Room for the whole text at once: a buffer that grows leaves copies of the keys behind.
    let room = usize::try_from(about.len()).unwrap_or_default() + 1;
    let mut text = Zeroizing::new(String::with_capacity(room));
    file.take(LONGEST).read_to_string(&mut text).map_err(doing("read it"))?;
    Ok(text)
}

/// Checks that a file is plain and that only its owner has rights to it; where modes are not Unix's, that it is plain.
///
/// # Errors
/// [`FileError::Exposed`], [`FileError::NotPlain`], or [`FileError::Io`] when it is not there.
pub fn check_private(path: &Path) -> Result<(), FileError> {
    check_mode(&fs::metadata(path).map_err(doing("find it"))?)
}

/// Makes an empty file that only its owner can read, whatever the umask, unless it is there already.
///
/// # Errors
/// [`FileError::Io`].
pub fn create_private(path: &Path) -> Result<(), FileError> {
    match new_file(path) {
        Err(FileError::Io { cause, .. }) if cause.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map(drop),
    }
}

/// Writes a new secret file of mode 0600.
///
/// # Errors
/// [`FileError::Exists`] when there is one, [`FileError::Io`] otherwise.
pub(super) fn create(path: &Path, text: &str) -> Result<(), FileError> {
    let folder = lock_folder(path)?;
    if path.try_exists().map_err(doing("look for it"))? {
        return Err(FileError::Exists);
    }
    write(path, text, &folder)
}

/// Replaces a secret file by what `change` makes of its text; two at a time wait for each other.
///
/// # Errors
/// Those of [`read`], of `change`, and [`FileError::Io`].
pub(super) fn replace(
    path: &Path,
    change: impl FnOnce(&str) -> Result<Zeroizing<String>, FileError>,
) -> Result<Zeroizing<String>, FileError> {
    // A link is followed, so that the file behind it is replaced and not the link.
    let path = fs::canonicalize(path).map_err(doing("find it"))?;
    let folder = lock_folder(&path)?;
    let text = change(&read(&path)?)?;
    write(&path, &text, &folder)?;
    Ok(text)
}

/// Where in a text TOML failed, without the text itself (which the error's own words would repeat).
pub(super) fn malformed(text: &str, error: &toml::de::Error) -> FileError {
    let line =
        error.span().and_then(|span| text.get(..span.start)).map_or(0, |before| before.split('\n').count());
    FileError::Malformed { line }
}

/// Decodes a 32-byte secret from base64.
pub(super) fn secret_bytes(text: &str) -> Result<Zeroizing<[u8; 32]>, FileError> {
    let mut bytes = Zeroizing::new([0; 32]);
    match STANDARD.decode_slice(text, &mut bytes[..]) {
        Ok(32) if bytes.iter().any(|byte| *byte != 0) => Ok(bytes),
        _ => Err(FileError::Invalid("a key is not 32 random bytes in base64")),
    }
}

/// Encodes a 32-byte secret as base64.
pub(super) fn secret_text(bytes: &[u8; 32]) -> Zeroizing<String> {
    Zeroizing::new(STANDARD.encode(bytes))
}

fn write(path: &Path, text: &str, folder: &File) -> Result<(), FileError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let beside = PathBuf::from(name);
    // What a killed run left behind; the folder's lock says that nobody is writing it now.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(doing("clear the old temporary")(error));
        }
        _ => {}
    }
    let mut file = new_file(&beside)?;
    file.write_all(text.as_bytes()).map_err(doing("write it"))?;
    file.sync_all().map_err(doing("make it durable"))?;
    fs::rename(&beside, path).map_err(doing("put it in place"))?;
    folder.sync_all().map_err(doing("make its name durable"))
}

/// Makes a file of mode 0600; a umask can only take rights away, so they are set again.
fn new_file(path: &Path) -> Result<File, FileError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path).map_err(doing("create it"))?;
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .map_err(doing("set its mode"))?;
    Ok(file)
}

fn lock_folder(path: &Path) -> Result<File, FileError> {
    let parent = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = File::open(parent).map_err(doing("open its folder"))?;
    folder.lock().map_err(doing("lock its folder"))?;
    Ok(folder)
}

fn check_mode(about: &fs::Metadata) -> Result<(), FileError> {
    if !about.is_file() {
        return Err(FileError::NotPlain);
    }
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::MetadataExt::mode(about) & 0o7777;
        if !mode.is_multiple_of(0o100) {
            return Err(FileError::Exposed { mode });
        }
    }
    Ok(())
}

fn doing(what: &'static str) -> impl Fn(io::Error) -> FileError {
    move |cause| FileError::Io { doing: what, cause }
}
