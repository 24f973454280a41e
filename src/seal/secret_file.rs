//! Files that hold secrets. A file is read only when nobody else can read it, and is written atomically.
//!
//! Owns the mode check (0600) and the atomic write (lock the folder, temporary file, fsync, rename, fsync the folder).
//! Invariants: an existing file is never overwritten by a creation, and no error contains the content of a file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// Maximum size of a secret file, in bytes.
const MAX_SECRET_FILE_BYTES: u64 = 1 << 20;

/// Error of reading or writing a secret file. It never contains the content.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// An operation of the file system failed.
    #[error("cannot {doing}: {cause}")]
    Io {
        /// The failed operation, as a verb with its object.
        doing: &'static str,
        /// Error of the operating system.
        cause: io::Error,
    },
    /// Group or others may read or write it.
    #[error("group or others have rights to it (mode {mode:04o}): run chmod 600 on it")]
    Exposed {
        /// The permission bits found.
        mode: u32,
    },
    /// The file is a folder, a pipe or a device.
    #[error("it is not a regular file")]
    NotRegularFile,
    /// The file is not the expected TOML. Only the line number is given, because the line may hold a key.
    #[error("it is not understood at line {line}")]
    Malformed {
        /// Line number, from 1; 0 when unknown.
        line: usize,
    },
    /// The file is valid TOML with invalid content.
    #[error("{0}")]
    Invalid(&'static str),
    /// A file of that name exists and is never overwritten.
    #[error("it already exists and is never overwritten: move it away if no gateway uses it")]
    Exists,
    /// The cryptographic library rejected a key of the file.
    #[error(transparent)]
    Seal(#[from] super::SealError),
}

/// Reads the text of a secret file.
///
/// # Errors
/// [`SecretFileError::Exposed`] when anybody but the owner has rights to it (Unix), [`SecretFileError::Io`] otherwise.
pub(super) fn read(path: &Path) -> Result<Zeroizing<String>, SecretFileError> {
    // Checked before the file is opened, because opening a named pipe would block.
    ensure_private(path)?;
    let file = File::open(path).map_err(io_error_while("open it"))?;
    let metadata = file.metadata().map_err(io_error_while("read its mode"))?;
    ensure_private_mode(path, &metadata)?;
    if metadata.len() > MAX_SECRET_FILE_BYTES {
        return Err(SecretFileError::Invalid("longer than 1 MiB"));
    }
    // Allocates the whole text at once, because a buffer that grows leaves copies of the keys in memory.
    let capacity = usize::try_from(metadata.len()).unwrap_or_default() + 1;
    let mut text = Zeroizing::new(String::with_capacity(capacity));
    file.take(MAX_SECRET_FILE_BYTES).read_to_string(&mut text).map_err(io_error_while("read it"))?;
    Ok(text)
}

/// Reads the text of a secret file as it is, for a backup that encrypts it.
///
/// # Errors
/// As for a file that is used: others may read it, or it cannot be read.
pub fn read_secret_text(path: &Path) -> Result<Zeroizing<String>, SecretFileError> {
    read(path)
}

/// Creates a secret file of mode 0600 with the text that a backup holds.
///
/// # Errors
/// [`SecretFileError::Exists`] when the file exists, [`SecretFileError::Io`] otherwise.
pub fn create_from_text(path: &Path, text: &str) -> Result<(), SecretFileError> {
    create(path, text)
}

/// Checks that a file is a regular file and that only its owner has rights to it. Outside Unix only the first is
/// checked.
///
/// # Errors
/// [`SecretFileError::Exposed`], [`SecretFileError::NotRegularFile`], or [`SecretFileError::Io`] when it does not exist.
pub fn ensure_private(path: &Path) -> Result<(), SecretFileError> {
    ensure_private_mode(path, &fs::metadata(path).map_err(io_error_while("find it"))?)
}

/// Checks that this process may write to a file. SQLite opens a file that it may not write to for reading only, without
/// an error.
///
/// # Errors
/// [`SecretFileError::Io`].
pub fn ensure_writable(path: &Path) -> Result<(), SecretFileError> {
    OpenOptions::new().write(true).open(path).map(drop).map_err(io_error_while("open it for writing"))
}

/// Creates an empty file that only its owner can read, whatever the umask. An existing file is left as it is.
///
/// # Errors
/// [`SecretFileError::Io`].
pub fn create_private_if_missing(path: &Path) -> Result<(), SecretFileError> {
    match create_owner_only(path) {
        Err(SecretFileError::Io { cause, .. }) if cause.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        created => created.map(drop),
    }
}

/// Makes the folder of a file if it is missing, and checks that a file can be made in it.
///
/// # Errors
/// [`SecretFileError::Io`].
pub fn ensure_folder_is_writable(path: &Path) -> Result<(), SecretFileError> {
    let folder = folder_of(path);
    fs::create_dir_all(folder).map_err(io_error_while("make its folder"))?;
    let trial = folder.join(format!(".ap-gateway-{}", std::process::id()));
    create_owner_only(&trial)?;
    fs::remove_file(&trial).map_err(io_error_while("write to its folder"))
}

/// Creates a secret file of mode 0600.
///
/// # Errors
/// [`SecretFileError::Exists`] when the file exists, [`SecretFileError::Io`] otherwise.
pub(super) fn create(path: &Path, text: &str) -> Result<(), SecretFileError> {
    let folder = lock_folder(path)?;
    if path.try_exists().map_err(io_error_while("check whether it exists"))? {
        return Err(SecretFileError::Exists);
    }
    write_atomically(path, text, &folder)
}

/// Replaces the text of a secret file by the result of `change`. A lock serialises concurrent replacements.
///
/// # Errors
/// Errors of [`read`] and of `change`, and [`SecretFileError::Io`].
pub(super) fn replace(
    path: &Path,
    change: impl FnOnce(&str) -> Result<Zeroizing<String>, SecretFileError>,
) -> Result<Zeroizing<String>, SecretFileError> {
    // A symbolic link is followed, so that the target file is replaced and not the link.
    let path = fs::canonicalize(path).map_err(io_error_while("find it"))?;
    let folder = lock_folder(&path)?;
    let text = change(&read(&path)?)?;
    write_atomically(&path, &text, &folder)?;
    Ok(text)
}

/// Returns the error for text that is not valid TOML: its line number, without the text, which the error's own message
/// would repeat.
pub(super) fn malformed(text: &str, error: &toml::de::Error) -> SecretFileError {
    let line =
        error.span().and_then(|span| text.get(..span.start)).map_or(0, |before| before.split('\n').count());
    SecretFileError::Malformed { line }
}

/// Decodes a 32-byte secret from base64.
pub(super) fn secret_bytes(text: &str) -> Result<Zeroizing<[u8; 32]>, SecretFileError> {
    let mut bytes = Zeroizing::new([0; 32]);
    match STANDARD.decode_slice(text, &mut bytes[..]) {
        Ok(32) if bytes.iter().any(|byte| *byte != 0) => Ok(bytes),
        _ => Err(SecretFileError::Invalid("a key is not 32 random bytes in base64")),
    }
}

/// Encodes a 32-byte secret as base64.
pub(super) fn secret_text(bytes: &[u8; 32]) -> Zeroizing<String> {
    Zeroizing::new(STANDARD.encode(bytes))
}

fn write_atomically(path: &Path, text: &str, folder: &File) -> Result<(), SecretFileError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let temporary = PathBuf::from(name);
    // Removes the temporary file of a killed process. The lock of the folder excludes a concurrent writer.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(io_error_while("clear the old temporary")(error));
        }
        _ => {}
    }
    let mut file = create_owner_only(&temporary)?;
    file.write_all(text.as_bytes()).map_err(io_error_while("write it"))?;
    file.sync_all().map_err(io_error_while("make it durable"))?;
    fs::rename(&temporary, path).map_err(io_error_while("put it in place"))?;
    folder.sync_all().map_err(io_error_while("make its name durable"))
}

/// Creates a file of mode 0600. The mode is set again after the creation, because a umask can only remove rights.
fn create_owner_only(path: &Path) -> Result<File, SecretFileError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path).map_err(io_error_while("create it"))?;
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .map_err(io_error_while("set its mode"))?;
    Ok(file)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn lock_folder(path: &Path) -> Result<File, SecretFileError> {
    let folder = File::open(folder_of(path)).map_err(io_error_while("open its folder"))?;
    folder.lock().map_err(io_error_while("lock its folder"))?;
    Ok(folder)
}

fn ensure_private_mode(path: &Path, metadata: &fs::Metadata) -> Result<(), SecretFileError> {
    if !metadata.is_file() {
        return Err(SecretFileError::NotRegularFile);
    }
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::MetadataExt::mode(metadata) & 0o7777;
        if !mode.is_multiple_of(0o100) && !is_credential(path, mode) {
            return Err(SecretFileError::Exposed { mode });
        }
    }
    Ok(())
}

/// Returns whether a file is a credential of the service manager (systemd's `LoadCredential`): in the folder that it
/// opens to this service alone, with a mode that shows the right of this service's user as one of the group.
#[cfg(unix)]
fn is_credential(path: &Path, mode: u32) -> bool {
    let folder = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    mode == 0o440 && folder.is_some_and(|folder| folder.is_absolute() && path.parent() == Some(&*folder))
}

fn io_error_while(operation: &'static str) -> impl Fn(io::Error) -> SecretFileError {
    move |cause| SecretFileError::Io { doing: operation, cause }
}
